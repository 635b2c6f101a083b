package initd

import (
	"syscall"
	"time"

	"mios/format/initrc"
)

// The states of a service, the values of init.svc.NAME.
const (
	stopped    = "stopped"
	starting   = "starting"
	running    = "running"
	stopping   = "stopping"
	restarting = "restarting"
)

// A service is one that init knows, with what becomes of it. All fields but
// def are the manager's, under its lock.
type service struct {
	def   *initrc.Service
	state string
	pid   int
	// off tells that class_start leaves it alone: the option disabled, a stop,
	// or a one-shot that has run.
	off bool
	// again tells that it is to start once it has ended, whatever it is.
	again   bool
	started time.Time
	timer   *time.Timer // of its restart, or of the kill of one that does not stop
	timeout *time.Timer // of timeout_period
	ended   chan struct{}
	status  syscall.WaitStatus // of the last run, once ended is closed

	crashes    int
	firstCrash time.Time
}

// crash counts an end of a critical service and tells whether it was the
// fourth within the window.
func (s *service) crash(now time.Time, booted bool) bool {
	if now.Sub(s.firstCrash) > s.def.CriticalWindow && booted || s.crashes == 0 {
		s.crashes, s.firstCrash = 0, now
	}
	s.crashes++
	return s.crashes >= maxCrashes
}

// maxCrashes is how often a critical service may end before that is fatal.
const maxCrashes = 4

// gentle is how long a service with gentle_kill has to end by itself, AOSP's.
const gentle = 200 * time.Millisecond
