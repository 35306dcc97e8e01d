// Command sumdb checks a log in a folder with the code of the Go checksum database: the head, that the entry is in it,
// and that a smaller head begins it. Usage: sumdb DIR INDEX OLDER-CHECKPOINT
package main

import (
	"encoding/binary"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// folder reads tiles as golang.org/x/mod/sumdb/tlog asks for them: its paths have the height, those of C2SP have not.
type folder string

func (folder) Height() int { return 8 }

func (folder) SaveTiles([]tlog.Tile, [][]byte) {}

func (f folder) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		data, err := os.ReadFile(filepath.Join(string(f), strings.Replace(tile.Path(), "tile/8/", "tile/", 1)))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

func main() {
	log.SetFlags(0)
	dir := os.Args[1]
	index, err := strconv.ParseInt(os.Args[2], 10, 64)
	must(err)
	verifier, err := note.NewVerifier(strings.TrimSpace(string(read(filepath.Join(dir, "log.vkey")))))
	must(err)
	tree, older := head(filepath.Join(dir, "checkpoint"), verifier), head(os.Args[3], verifier)
	reader := tlog.TileHashReader(tree, folder(dir))

	inclusion, err := tlog.ProveRecord(tree.N, index, reader)
	must(err)
	must(tlog.CheckRecord(inclusion, tree.N, tree.Hash, index, tlog.RecordHash(entry(dir, tree.N, index))))
	consistency, err := tlog.ProveTree(tree.N, older.N, reader)
	must(err)
	must(tlog.CheckTree(consistency, tree.N, tree.Hash, older.N, older.Hash))
	fmt.Println("good")
}

func head(path string, verifier note.Verifier) tlog.Tree {
	opened, err := note.Open(read(path), note.VerifierList(verifier))
	must(err)
	lines := strings.Split(opened.Text, "\n")
	size, err := strconv.ParseInt(lines[1], 10, 64)
	must(err)
	hash, err := tlog.ParseHash(lines[2])
	must(err)
	return tlog.Tree{N: size, Hash: hash}
}

func entry(dir string, size, index int64) []byte {
	tile := tlog.Tile{H: 8, L: -1, N: index / 256, W: int(min(256, size-index/256*256))}
	data := read(filepath.Join(dir, strings.Replace(tile.Path(), "tile/8/data/", "tile/entries/", 1)))
	for skip := index % 256; skip > 0; skip-- {
		data = data[2+binary.BigEndian.Uint16(data):]
	}
	return data[2 : 2+binary.BigEndian.Uint16(data)]
}

func read(path string) []byte {
	data, err := os.ReadFile(path)
	must(err)
	return data
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
