// Command witness opens a cosigned checkpoint with the code of transparency-dev and of the Go checksum database, and prints
// its size and when the witness has signed it, in POSIX seconds. Usage: witness CHECKPOINT ORIGIN LOG-VKEY WITNESS-VKEY
package main

import (
	"fmt"
	"log"
	"os"

	tlog "github.com/transparency-dev/formats/log"
	formats "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
)

func main() {
	log.SetFlags(0)
	bytes, err := os.ReadFile(os.Args[1])
	must(err)
	logKey, err := note.NewVerifier(os.Args[3])
	must(err)
	witness, err := formats.NewVerifierForCosignatureV1(os.Args[4])
	must(err)
	checkpoint, _, opened, err := tlog.ParseCheckpoint(bytes, os.Args[2], logKey, witness)
	must(err)
	if len(opened.Sigs) != 2 {
		log.Fatalf("%d of 2 signatures are good", len(opened.Sigs))
	}
	for _, signature := range opened.Sigs {
		if signature.Hash == witness.KeyHash() {
			at, err := formats.CoSigV1Timestamp(signature)
			must(err)
			fmt.Println(checkpoint.Size, at.Unix())
		}
	}
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
