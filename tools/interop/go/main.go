// Command interop shows our log to libraries that others wrote. Every subcommand does one thing with one of them,
// writes what it found to stdout, and ends with 1 and the library's own words on stderr if that refuses.
package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"syscall"

	"k8s.io/klog/v2"
)

var commands = map[string]func(context.Context, []string) error{
	"versions": versions,
	"note":     openNote,
	"tree":     checkTree,
	"fsck":     checkWithTessera,
	"quorum":   checkQuorumWithTessera,
	"proof":    verifyProof,
	"proofs":   formatProofs,
	"entries":  readEntries,
	"subtree":  verifySubtrees,
	"agent":    serveAgent,
	"witness":  serveWitness,
	"offer":    offerCheckpoint,
	"key":      makeKey,
	"publish":  publishWithTessera,
}

func main() {
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "interop: want one of the subcommands")
		os.Exit(2)
	}
	// Tessera and the omniwitness log to stderr; what matters comes back as an error.
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := commands[os.Args[1]](ctx, os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "%v\n", err)
		os.Exit(1)
	}
}

// versions prints the modules this command was built from.
func versions(context.Context, []string) error {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return fmt.Errorf("built without module information")
	}
	fmt.Printf("go %s\n", info.GoVersion)
	for _, module := range info.Deps {
		fmt.Printf("%s %s\n", module.Path, module.Version)
	}
	return nil
}

// entriesOf cuts a bundle: for each entry two bytes of length, and the entry.
func entriesOf(bundle []byte) ([][]byte, error) {
	var entries [][]byte
	for len(bundle) > 0 {
		if len(bundle) < 2 {
			return nil, fmt.Errorf("the bundle ends in a length")
		}
		size := int(bundle[0])<<8 | int(bundle[1])
		if len(bundle) < 2+size {
			return nil, fmt.Errorf("the bundle ends in an entry")
		}
		entries = append(entries, bundle[2:2+size])
		bundle = bundle[2+size:]
	}
	return entries, nil
}

// rootOf reads the three lines of a checkpoint's text.
func rootOf(text string) (origin string, size int64, root []byte, err error) {
	lines := bytes.Split([]byte(text), []byte("\n"))
	if len(lines) != 4 || len(lines[3]) != 0 {
		return "", 0, nil, fmt.Errorf("want a checkpoint of three lines, found %d", len(lines)-1)
	}
	if _, err := fmt.Sscanf(string(lines[1]), "%d", &size); err != nil {
		return "", 0, nil, fmt.Errorf("size %q: %w", lines[1], err)
	}
	root, err = base64.StdEncoding.DecodeString(string(lines[2]))
	if err == nil && len(root) != 32 {
		err = fmt.Errorf("a root of %d bytes", len(root))
	}
	return string(lines[0]), size, root, err
}

// filesIn returns the files of a directory, by name.
func filesIn(directory string) ([]string, error) {
	found, err := filepath.Glob(filepath.Join(directory, "*"))
	slices.Sort(found)
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("%s is empty", directory)
	}
	return found, err
}
