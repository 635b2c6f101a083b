package worker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"
	"time"

	"mios"
	"mios/internal/lockdown"
)

// Exit statuses of a child that gives no answer.
const (
	exitUsage   = 2
	exitConfine = 3
)

// Main becomes a worker and does not return, if this process was started as
// one. It is to be called before anything else happens.
func Main() {
	if len(os.Args) != 3 || os.Args[1] != command {
		return
	}
	n, err := strconv.Atoi(os.Args[2])
	if err != nil || n < 0 || n > 1<<10 {
		fail(exitUsage, "the program starts workers by itself: there is nothing to be called")
	}
	var req request
	if err := json.NewDecoder(io.LimitReader(os.Stdin, 1<<20)).Decode(&req); err != nil || len(req.Files) != n {
		fail(exitUsage, "the program starts workers by itself: there is nothing to be called")
	}
	if _, err := lockdown.Enter(lockdown.Limits{Memory: req.Memory, CPU: time.Duration(req.CPU) * time.Second, Files: firstFile + n}); err != nil {
		fail(exitConfine, err.Error())
	}
	work(&req)
	syscall.Exit(0) // at once: the race detector would wait for a second
}

func fail(status int, msg string) {
	fmt.Fprintln(os.Stderr, msg)
	os.Exit(status)
}

// work does what is asked for and answers.
func work(req *request) {
	files := make([]File, len(req.Files))
	for i, f := range req.Files {
		files[i] = File{ReaderAt: os.NewFile(uintptr(firstFile+i), f.Name), Name: f.Name, Size: f.Size}
	}
	run := tasks[req.Task]
	if run == nil {
		fail(exitUsage, "no task "+strconv.Quote(req.Task))
	}
	var a struct {
		Error  string `json:"error,omitempty"`
		Here   bool   `json:"here,omitempty"`
		Result any    `json:"result,omitempty"`
	}
	result, err := run(context.Background(), req, files)
	if err != nil {
		a.Error, a.Here = err.Error(), !errors.Is(err, mios.ErrInvalid)
	} else {
		a.Result = result
	}
	out := bufio.NewWriter(os.Stdout)
	err = json.NewEncoder(out).Encode(a)
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		fail(1, "answer: "+err.Error())
	}
}
