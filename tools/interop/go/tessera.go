package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"time"

	formats "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
)

// checkWithTessera runs Tessera's fsck over a log: fsck URL VKEY
//
// It is the library behind its command: that one shows a screen, and ends with 0 whatever it finds.
func checkWithTessera(ctx context.Context, arguments []string) error {
	verifier, err := logVerifier(arguments[1])
	if err != nil {
		return err
	}
	root, err := url.Parse(arguments[0])
	if err != nil {
		return err
	}
	fetcher, err := client.NewHTTPFetcher(root, nil)
	if err != nil {
		return err
	}
	// A worker that finds a fault ends, and without any left the rest would wait for ever.
	check := fsck.New(verifier.Name(), verifier, fetcher, leavesOf, fsck.Opts{N: 16})
	return check.Check(ctx)
}

// logVerifier reads a log's key as Tessera does, and otherwise as an ML-DSA-44 cosigner's.
func logVerifier(vkey string) (note.Verifier, error) {
	if verifier, err := formats.NewMLDSAVerifier(vkey); err == nil {
		return verifier, nil
	}
	return formats.NewVerifier(vkey)
}

func leavesOf(encoded []byte) ([][]byte, error) {
	var bundle api.EntryBundle
	if err := bundle.UnmarshalText(encoded); err != nil {
		return nil, err
	}
	leaves := make([][]byte, len(bundle.Entries))
	for i, entry := range bundle.Entries {
		leaves[i] = rfc6962.DefaultHasher.HashLeaf(entry)
	}
	return leaves, nil
}

// checkQuorumWithTessera says whether the checkpoint on stdin meets a policy's quorum: quorum POLICY
func checkQuorumWithTessera(_ context.Context, arguments []string) error {
	group, err := witnessesOf(arguments[0])
	if err != nil {
		return err
	}
	checkpoint, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	if !group.Satisfied(checkpoint) {
		return fmt.Errorf("the quorum is not met")
	}
	return nil
}

func witnessesOf(policy string) (tessera.WitnessGroup, error) {
	encoded, err := os.ReadFile(policy)
	if err != nil {
		return tessera.WitnessGroup{}, err
	}
	return tessera.NewWitnessGroupFromPolicy(encoded)
}

// publishWithTessera runs a log of Tessera's that has its checkpoints cosigned: publish DIRECTORY SKEY POLICY COUNT
//
// Entries are added one by one, each awaited in a witnessed checkpoint; the last of these goes to stdout.
func publishWithTessera(ctx context.Context, arguments []string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	signer, err := note.NewSigner(arguments[1])
	if err != nil {
		return err
	}
	group, err := witnessesOf(arguments[2])
	if err != nil {
		return err
	}
	count, err := strconv.Atoi(arguments[3])
	if err != nil {
		return err
	}
	driver, err := posix.New(ctx, posix.Config{Path: arguments[0]})
	if err != nil {
		return err
	}
	options := tessera.NewAppendOptions().
		WithCheckpointSigner(signer).
		WithBatching(1, 10*time.Millisecond).
		WithCheckpointInterval(100*time.Millisecond).
		WithWitnesses(group, &tessera.WitnessOptions{Timeout: 5 * time.Second})
	appender, shutdown, reader, err := tessera.NewAppender(ctx, driver, options)
	if err != nil {
		return err
	}
	awaiter := tessera.NewPublicationAwaiter(ctx, reader.ReadCheckpoint, 50*time.Millisecond)
	var checkpoint []byte
	for i := range count {
		entry := tessera.NewEntry(fmt.Appendf(nil, "entry %d of %s at %s", i, signer.Name(), time.Now()))
		if _, checkpoint, err = awaiter.Await(ctx, appender.Add(ctx, entry)); err != nil {
			return fmt.Errorf("no witnessed checkpoint: %w", err)
		}
	}
	if err := shutdown(ctx); err != nil {
		return err
	}
	_, err = os.Stdout.Write(checkpoint)
	return err
}

// makeKey prints a fresh Ed25519 key of a log, private and public: key NAME
func makeKey(_ context.Context, arguments []string) error {
	skey, vkey, err := note.GenerateKey(rand.Reader, arguments[0])
	fmt.Printf("%s\n%s\n", skey, vkey)
	return err
}
