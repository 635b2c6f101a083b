package initd

import (
	"errors"
	"runtime"
	"sync"
	"syscall"
)

// A reaper waits for child processes. In PID 1 it waits for any, because
// orphans become children of PID 1; elsewhere, in tests, for those that it
// started. Nothing else in the process may wait for children then, so
// everything in this package starts processes through it.
type reaper struct {
	mu       sync.Mutex
	waits    map[int]chan<- syscall.WaitStatus
	early    map[int]syscall.WaitStatus // ended before start knew their number
	starting int
	any      bool
	kick     chan struct{}
}

func newReaper(any bool) *reaper {
	r := &reaper{waits: make(map[int]chan<- syscall.WaitStatus), early: make(map[int]syscall.WaitStatus), any: any,
		kick: make(chan struct{}, 1)}
	if any {
		go r.run()
	}
	return r
}

// A process is one that runs or ran.
type process struct {
	pid    int
	exited <-chan syscall.WaitStatus // gives one value
}

// start runs fork, which starts a process.
func (r *reaper) start(fork func() (int, error)) (process, error) {
	r.mu.Lock()
	r.starting++
	r.mu.Unlock()
	pid, err := fork()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.starting--
	defer func() {
		if r.starting == 0 {
			clear(r.early)
		}
	}()
	if err != nil {
		return process{}, err
	}
	exited := make(chan syscall.WaitStatus, 1)
	if ws, ended := r.early[pid]; ended {
		delete(r.early, pid)
		exited <- ws
		return process{pid, exited}, nil
	}
	r.waits[pid] = exited
	if r.any {
		select {
		case r.kick <- struct{}{}:
		default:
		}
	} else {
		go r.wait(pid)
	}
	return process{pid, exited}, nil
}

// run waits for any child, for ever.
func (r *reaper) run() {
	runtime.LockOSThread() // it is in a system call nearly always
	for {
		if errors.Is(r.wait(-1), syscall.ECHILD) {
			<-r.kick
		}
	}
}

// wait waits for a child and passes on its status.
func (r *reaper) wait(pid int) error {
	var ws syscall.WaitStatus
	got, err := syscall.Wait4(pid, &ws, 0, nil)
	for errors.Is(err, syscall.EINTR) {
		got, err = syscall.Wait4(pid, &ws, 0, nil)
	}
	if err != nil || !ws.Exited() && !ws.Signaled() {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if c, known := r.waits[got]; known {
		delete(r.waits, got)
		c <- ws
	} else if r.starting > 0 {
		r.early[got] = ws
	}
	return nil
}
