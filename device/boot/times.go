package boot

import (
	"fmt"
	"strings"
	"time"
)

// Times measures the phases of the boot.
type Times struct {
	now    func() time.Duration // since the kernel started
	last   time.Duration
	phases []string
}

// NewTimes measures with a clock that began when the kernel did. What came
// before is the first phase, "kernel".
func NewTimes(now func() time.Duration) *Times {
	t := &Times{now: now}
	t.Mark("kernel")
	return t
}

// Mark ends a phase: it took from the end of the one before until now.
func (t *Times) Mark(phase string) {
	now := t.now()
	t.phases = append(t.phases, fmt.Sprintf("%s:%d", phase, (now-t.last).Milliseconds()))
	t.last = now
}

// String returns the phases in milliseconds, as androidboot.boottime has them:
// "kernel:812,modules:95".
func (t *Times) String() string { return strings.Join(t.phases, ",") }
