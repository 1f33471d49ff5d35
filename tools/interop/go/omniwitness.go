package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	formats "github.com/transparency-dev/formats/note"
	client "github.com/transparency-dev/witness/client/http"
	"github.com/transparency-dev/witness/persistence/inmemory"
	"github.com/transparency-dev/witness/witness"
	"golang.org/x/mod/sumdb/note"
)

// serveWitness runs the witness that the omniwitness is made of, with an Ed25519 and an ML-DSA-44 key:
// witness NAME VKEY...
//
// Its URL and its keys go to stdout; it remembers until it ends.
func serveWitness(ctx context.Context, arguments []string) error {
	name := arguments[0]
	logs := map[string]note.Verifier{}
	for _, vkey := range arguments[1:] {
		verifier, err := logVerifier(vkey)
		if err != nil {
			return err
		}
		logs[verifier.Name()] = verifier
	}
	signers, vkeys, err := cosigners(name)
	if err != nil {
		return err
	}
	server, err := witness.New(ctx, witness.Opts{
		Persistence: inmemory.New(),
		Signers:     signers,
		VerifierForLog: func(_ context.Context, origin string) (note.Verifier, bool, error) {
			verifier, known := logs[origin]
			return verifier, known, nil
		},
	})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /add-checkpoint", witness.NewHTTPHandler(server).AddCheckpoint)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { listener.Close() })
	fmt.Printf("http://%s\n%s\n", listener.Addr(), strings.Join(vkeys, "\n"))
	_ = http.Serve(listener, mux)
	return nil
}

func cosigners(name string) ([]note.Signer, []string, error) {
	ed25519, ed25519Public, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		return nil, nil, err
	}
	ed25519Public, err = formats.VKeyToCosignatureV1(ed25519Public)
	if err != nil {
		return nil, nil, err
	}
	mldsa, mldsaPublic, err := formats.GenerateMLDSAKey(name)
	if err != nil {
		return nil, nil, err
	}
	var signers []note.Signer
	for _, key := range []string{ed25519, mldsa} {
		signer, err := formats.NewSignerForCosignatureV1(key)
		if err != nil {
			return nil, nil, err
		}
		signers = append(signers, signer)
	}
	return signers, []string{ed25519Public, mldsaPublic}, nil
}

// offerCheckpoint sends the checkpoint on stdin to a witness with the omniwitness's client: offer URL OLD HASH...
//
// The witness's lines, or the size it named, go to stdout.
func offerCheckpoint(ctx context.Context, arguments []string) error {
	root, err := url.Parse(arguments[0])
	if err != nil {
		return err
	}
	old, err := strconv.ParseUint(arguments[1], 10, 64)
	if err != nil {
		return err
	}
	proof := make([][]byte, len(arguments[2:]))
	for i, hash := range arguments[2:] {
		if proof[i], err = base64.StdEncoding.DecodeString(hash); err != nil {
			return err
		}
	}
	checkpoint, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	lines, size, err := client.NewWitness(root, http.DefaultClient).Update(ctx, old, checkpoint, proof)
	if err != nil {
		if size > 0 {
			fmt.Printf("size %d\n", size)
		}
		return err
	}
	_, err = os.Stdout.Write(lines)
	return err
}
