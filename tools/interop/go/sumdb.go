package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// openNote opens the note on stdin with keys as golang.org/x/mod reads them: note VKEY...
func openNote(_ context.Context, vkeys []string) error {
	verifiers := make([]note.Verifier, len(vkeys))
	for i, vkey := range vkeys {
		var err error
		if verifiers[i], err = note.NewVerifier(vkey); err != nil {
			return err
		}
	}
	encoded, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	opened, err := note.Open(encoded, note.VerifierList(verifiers...))
	if err != nil {
		return err
	}
	for _, signature := range opened.Sigs {
		fmt.Printf("verified %s %08x\n", signature.Name, signature.Hash)
	}
	for _, signature := range opened.UnverifiedSigs {
		fmt.Printf("ignored %s %08x\n", signature.Name, signature.Hash)
	}
	return nil
}

// tiles reads the tiles of a log over HTTP, each once, where C2SP tlog-tiles has them: without the height in the path.
type tiles struct {
	url   string
	known map[string][]byte
}

func (t tiles) Height() int                     { return 8 }
func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	found := make([][]byte, len(wanted))
	for i, tile := range wanted {
		var err error
		if found[i], err = t.read(tile); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func (t tiles) read(tile tlog.Tile) ([]byte, error) {
	path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
	path = strings.Replace(path, "tile/data/", "tile/entries/", 1)
	if found, ok := t.known[path]; ok {
		return found, nil
	}
	found, err := get(t.url + "/" + path)
	if errors.Is(err, os.ErrNotExist) && tile.L >= 0 && tile.W < 256 {
		// Once a tile is full its partial forms may go; they are its beginning.
		whole, err := t.read(tlog.Tile{H: tile.H, L: tile.L, N: tile.N, W: 256})
		return whole[:min(32*tile.W, len(whole))], err
	}
	if err == nil {
		t.known[path] = found
	}
	return found, err
}

func get(url string) ([]byte, error) {
	response, err := http.Get(url)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusNotFound {
		return nil, fmt.Errorf("%s: %w", url, os.ErrNotExist)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, response.Status)
	}
	return io.ReadAll(response.Body)
}

// checkTree checks everything in a log with golang.org/x/mod: tree URL VKEY DIRECTORY
//
// The directory has earlier checkpoints, one file each. Every entry must hash to its leaf and be proven in the newest
// tree, and every earlier tree, at its own size, must lead to its own root and be consistent with all later ones.
func checkTree(_ context.Context, arguments []string) error {
	url, vkey, directory := arguments[0], arguments[1], arguments[2]
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return err
	}
	open := func(encoded []byte) (tlog.Tree, error) {
		opened, err := note.Open(encoded, note.VerifierList(verifier))
		if err != nil {
			return tlog.Tree{}, err
		}
		origin, size, root, err := rootOf(opened.Text)
		if err == nil && origin != verifier.Name() {
			err = fmt.Errorf("a checkpoint of %s", origin)
		}
		return tlog.Tree{N: size, Hash: tlog.Hash(root)}, err
	}
	encoded, err := get(url + "/checkpoint")
	if err != nil {
		return err
	}
	newest, err := open(encoded)
	if err != nil {
		return err
	}
	served := tiles{url, map[string][]byte{}}
	if err := checkRecords(served, newest); err != nil {
		return err
	}
	files, err := filesIn(directory)
	if err != nil {
		return err
	}
	var trees []tlog.Tree
	for _, file := range files {
		encoded, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		tree, err := open(encoded)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		trees = append(trees, tree)
	}
	trees = append(trees, newest)
	proofs := 0
	for _, tree := range trees {
		reader := tlog.TileHashReader(tree, served)
		if root, err := tlog.TreeHash(tree.N, reader); err != nil || root != tree.Hash {
			return fmt.Errorf("the tiles of %d entries have root %v (%v), signed is %v", tree.N, root, err, tree.Hash)
		}
		for _, older := range trees {
			if older.N > tree.N {
				continue
			}
			proof, err := tlog.ProveTree(tree.N, older.N, reader)
			if err != nil {
				return err
			}
			if err := tlog.CheckTree(proof, tree.N, tree.Hash, older.N, older.Hash); err != nil {
				return fmt.Errorf("from %d to %d: %w", older.N, tree.N, err)
			}
			proofs++
		}
	}
	fmt.Printf("records %d\ncheckpoints %d\nconsistency %d\n", newest.N, len(trees), proofs)
	return nil
}

func checkRecords(served tiles, tree tlog.Tree) error {
	reader := tlog.TileHashReader(tree, served)
	for start := int64(0); start < tree.N; start += 256 {
		width := min(256, tree.N-start)
		leaves, err := served.read(tlog.Tile{H: 8, L: 0, N: start / 256, W: int(width)})
		if err != nil {
			return err
		}
		bundle, err := served.read(tlog.Tile{H: 8, L: -1, N: start / 256, W: int(width)})
		if err != nil {
			return err
		}
		entries, err := entriesOf(bundle)
		if err != nil || int64(len(entries)) != width {
			return fmt.Errorf("bundle %d has %d entries, want %d: %v", start/256, len(entries), width, err)
		}
		for i, entry := range entries {
			index, hash := start+int64(i), tlog.RecordHash(entry)
			if !bytes.Equal(hash[:], leaves[32*i:32*i+32]) {
				return fmt.Errorf("entry %d is not the one that its tile has the hash of", index)
			}
			proof, err := tlog.ProveRecord(tree.N, index, reader)
			if err != nil {
				return err
			}
			if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, hash); err != nil {
				return fmt.Errorf("entry %d: %w", index, err)
			}
		}
	}
	return nil
}
