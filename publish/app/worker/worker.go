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
	"time"
)

// A Worker starts child processes, one for each call. The zero value is ready.
// It may be used by several goroutines.
type Worker struct {
	Memory  int64         // bytes that a child may use; 0: DefaultMemory
	Timeout time.Duration // of one call; 0: DefaultTimeout
	Temp    string        // folder for files that are no file yet; "": the system's
}

// What a child may use unless the Worker says otherwise.
const (
	DefaultMemory  = 2 << 30
	DefaultTimeout = 2 * time.Minute
)

// A File is one that a child reads. If its reader is an *os.File, the child gets
// that; anything else is copied to a nameless file first.
type File struct {
	io.ReaderAt
	Name string // for messages
	Size int64  // bytes
}
