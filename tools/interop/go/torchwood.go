package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"crypto/ed25519"

	"filippo.io/torchwood"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/mod/sumdb/tlog"
)

func torchwoodPolicy(path string) (torchwood.Policy, error) {
	encoded, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return torchwood.ParsePolicy(encoded)
}

// verifyProof verifies .tlog-proof files: proof POLICY ENTRY PROOF
func verifyProof(_ context.Context, arguments []string) error {
	policy, err := torchwoodPolicy(arguments[0])
	if err != nil {
		return err
	}
	entry, err := os.ReadFile(arguments[1])
	if err != nil {
		return err
	}
	proof, err := os.ReadFile(arguments[2])
	if err != nil {
		return err
	}
	return torchwood.VerifyProof(policy, tlog.RecordHash(entry), proof)
}

func open(url, policyFile string) (*torchwood.Client, torchwood.Checkpoint, []byte, error) {
	policy, err := torchwoodPolicy(policyFile)
	if err != nil {
		return nil, torchwood.Checkpoint{}, nil, err
	}
	encoded, err := get(url + "/checkpoint")
	if err != nil {
		return nil, torchwood.Checkpoint{}, nil, err
	}
	checkpoint, _, err := torchwood.VerifyCheckpoint(encoded, policy)
	if err != nil {
		return nil, checkpoint, encoded, err
	}
	fetcher, err := torchwood.NewTileFetcher(url)
	if err != nil {
		return nil, checkpoint, encoded, err
	}
	client, err := torchwood.NewClient(fetcher)
	return client, checkpoint, encoded, err
}

// readEntries reads all entries with torchwood's client, each authenticated by the checkpoint: entries URL POLICY
func readEntries(ctx context.Context, arguments []string) error {
	client, checkpoint, _, err := open(arguments[0], arguments[1])
	if err != nil {
		return err
	}
	count := int64(0)
	for range client.AllEntries(ctx, checkpoint.Tree, 0) {
		count++
	}
	if err := client.Err(); err != nil {
		return err
	}
	if count != checkpoint.N {
		return fmt.Errorf("%d entries of %d", count, checkpoint.N)
	}
	fmt.Printf("entries %d\n", count)
	return nil
}

// formatProofs writes torchwood's own proofs of some entries: proofs URL POLICY DIRECTORY INDEX...
func formatProofs(ctx context.Context, arguments []string) error {
	client, checkpoint, encoded, err := open(arguments[0], arguments[1])
	if err != nil {
		return err
	}
	for _, text := range arguments[3:] {
		index, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return err
		}
		_, proof, err := client.Entry(ctx, checkpoint.Tree, index)
		if err != nil {
			return err
		}
		file := filepath.Join(arguments[2], text+".tlog-proof")
		if err := os.WriteFile(file, torchwood.FormatProof(index, proof, encoded), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// verifySubtrees takes ML-DSA lines of the checkpoint on stdin for what they are, cosignatures of the tree from 0 to its
// size, without the checkpoint's text: subtree VKEY
func verifySubtrees(_ context.Context, arguments []string) error {
	verifier, err := torchwood.NewCosignatureVerifier(arguments[0])
	if err != nil {
		return err
	}
	encoded, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	text, lines, _ := strings.Cut(string(encoded), "\n\n")
	origin, size, root, err := rootOf(text + "\n")
	if err != nil {
		return err
	}
	for line := range strings.Lines(lines) {
		encoded, _ := base64.StdEncoding.DecodeString(strings.TrimSpace(line[strings.LastIndex(line, " ")+1:]))
		if !bytes.HasPrefix(encoded, keyID(verifier.KeyHash())) {
			continue
		}
		if !verifier.VerifySubtree(origin, 0, size, tlog.Hash(root), []byte(line)) {
			return fmt.Errorf("not a cosignature of the tree from 0 to %d", size)
		}
		fmt.Printf("subtree 0 %d\n", size)
		return nil
	}
	return fmt.Errorf("no line of this key")
}

func keyID(id uint32) []byte {
	return []byte{byte(id >> 24), byte(id >> 16), byte(id >> 8), byte(id)}
}

// serveAgent is the ssh-agent that litewitness takes its key from, with one fresh key: agent SOCKET
func serveAgent(ctx context.Context, arguments []string) error {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	keyring := agent.NewKeyring()
	if err := keyring.Add(agent.AddedKey{PrivateKey: private}); err != nil {
		return err
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		return err
	}
	listener, err := net.Listen("unix", arguments[0])
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { listener.Close() })
	fmt.Println(ssh.FingerprintSHA256(key))
	for {
		connection, err := listener.Accept()
		if err != nil {
			return nil
		}
		go agent.ServeAgent(keyring, connection)
	}
}
