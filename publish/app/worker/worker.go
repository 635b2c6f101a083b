// Package worker parses what strangers made, packages and pictures, in a child
// process that holds no key: the program itself, started with nothing but the
// files' descriptors. The child has no environment, no other file, no network
// and no way to any; its memory, time and answer are bounded. When it dies,
// hangs or talks nonsense, that is an error that says so, and nothing else
// happens.
//
// A program that uses it calls [Main] first of all in its main, tests in their
// TestMain. docs/checks.md tells what the child may do.
package worker

import (
	"io"
	"sync"
	"time"
)

// A Worker starts child processes, one for each call. The zero value is ready.
// It may be used by several goroutines, and must not be copied once it was.
type Worker struct {
	Memory   int64         // bytes that a child may use; 0: DefaultMemory
	Timeout  time.Duration // of one call; 0: DefaultTimeout
	Parallel int           // children at once; 0: DefaultParallel
	Temp     string        // folder for large files that are none yet; "": the system's

	once  sync.Once
	slots chan struct{}
}

// What children may use unless the Worker says otherwise.
const (
	DefaultMemory   = 2 << 30
	DefaultTimeout  = 2 * time.Minute
	DefaultParallel = 4
)

// maxAnswer is the most that a child may say, in bytes: a listing's pictures.
const maxAnswer = 64 << 20

// A File is one that a child reads. If its reader is an open file, an *os.File or
// what embeds one, the child gets that; anything else is copied to a nameless
// file first.
type File struct {
	io.ReaderAt
	Name string // for messages
	Size int64  // bytes
}
