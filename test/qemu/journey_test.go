package qemu_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// A stage is a part of a device's way through an update.
type stage int

const (
	starting    stage = iota // power on, until the boot is healthy
	downloading              // until the payload's last byte is served
	installing               // the rest of writing it, verification, activation, going down
	loading                  // the loader reads and verifies the new slot
	proving                  // the new slot's kernel, init, services, health checks
	proved                   // the new slot is healthy
)

func (s stage) String() string {
	return [...]string{"starting", "downloading", "installing", "loading", "proving", "proved"}[s]
}

// A moment is when to cut the power: at the n-th access to the disk in a stage,
// or as soon as the n-th byte of the payload is served. Accesses come in bursts,
// between a checkpoint's writes and its flush, and there is what can be lost.
// What a device has on its disk is all that a power cut leaves, so that the
// moments between two accesses are one. If the stage is over before, the moment
// is its end.
type moment struct {
	stage  stage
	n      int64
	served bool // n is of the payload
}

func (m moment) String() string {
	if m.served {
		return fmt.Sprintf("%s, byte %d", m.stage, m.n)
	}
	return fmt.Sprintf("%s, access %d", m.stage, m.n)
}

// A trap waits for a moment. From then on the guest's disk does not answer,
// until it is sprung.
type trap struct {
	moment
	isReached       bool
	reached, sprung chan struct{}
}

// A journey watches a device on its way through an update: by its disk, its
// console, and what it fetches. It is safe for concurrent use.
type journey struct {
	ctx  context.Context
	to   string // version of the release
	size int64  // of its payload

	mu       sync.Mutex
	stage    stage
	farthest stage         // that was reached before a power cut
	count    int64         // of accesses in the stage
	took     [proved]int64 // what count was at the end of each stage
	served   int64         // bytes of the payload, in total
	high     int64         // end of the part of the payload that was served
	asked    []string      // requests for the payload
	late     []string      // what was fetched of the payload after it was installed
	trap     *trap
	line     []byte // of the console, so far
}

// arm sets a trap; nil takes it away.
func (j *journey) arm(m *moment) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.trap = nil
	if m != nil {
		j.trap = &trap{moment: *m, reached: make(chan struct{}), sprung: make(chan struct{})}
	}
}

// powerOn says that the device starts.
func (j *journey) powerOn() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.stage, j.count, j.line = starting, 0, nil
}

// access is called before each access to the disk.
func (j *journey) access() {
	j.mu.Lock()
	j.count++
	j.look()
	t := j.trap
	hold := t != nil && t.isReached
	j.mu.Unlock()
	if !hold {
		return
	}
	select {
	case <-t.sprung:
	case <-j.ctx.Done():
	}
}

// look tells who waits if the trap's moment is there. The caller holds the lock.
func (j *journey) look() {
	t := j.trap
	if t == nil || t.isReached || j.stage < t.stage {
		return
	}
	if j.stage == t.stage && (t.moment.served && j.high < t.n || !t.moment.served && j.count < t.n) {
		return
	}
	t.isReached = true
	close(t.reached)
}

// enter begins a stage. The caller holds the lock.
func (j *journey) enter(s stage) {
	if j.stage < proved {
		j.took[j.stage] = j.count
	}
	j.stage, j.count = s, 0
	j.farthest = max(j.farthest, s)
	j.look()
}

var (
	healthyLine = regexp.MustCompile(`mios: healthy \(\S+ (\S+), slot`)
	loadedLine  = regexp.MustCompile(`^loader: slot _.: verified and loaded`)
	resetLine   = regexp.MustCompile(`reboot: Restarting system`)
)

// Write implements [io.Writer] for the console.
func (j *journey) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.line = append(j.line, p...)
	for {
		line, rest, ok := bytes.Cut(j.line, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		j.line = rest
		m := healthyLine.FindSubmatch(line)
		switch {
		case m != nil && string(m[1]) == j.to:
			j.enter(proved)
		case m != nil && j.size > 0 && j.high == j.size:
			j.enter(installing)
		case m != nil:
			j.enter(downloading)
		case j.stage == installing && resetLine.Match(line):
			j.enter(loading)
		case j.stage == loading && loadedLine.Match(line):
			j.enter(proving)
		}
	}
}

// watch counts what is served of the file.
func (j *journey) watch(file string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, file) {
				j.mu.Lock()
				j.asked = append(j.asked, fmt.Sprintf("%s %q with %d served", j.stage, r.Header.Get("Range"), j.high))
				if j.farthest >= loading {
					j.late = append(j.late, r.Header.Get("Range"))
				}
				j.mu.Unlock()
				var from int64
				fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from) // without one it is all of it
				w = &meter{w, j, from}
			}
			next.ServeHTTP(w, r)
		})
	}
}

// A meter counts the bytes of a response.
type meter struct {
	http.ResponseWriter
	j  *journey
	at int64 // in the payload
}

func (m *meter) Write(p []byte) (int, error) {
	n, err := m.ResponseWriter.Write(p)
	m.j.mu.Lock()
	defer m.j.mu.Unlock()
	m.at += int64(n)
	m.j.served += int64(n)
	m.j.high = max(m.j.high, m.at)
	if m.j.stage == downloading && m.j.high == m.j.size {
		m.j.enter(installing)
	}
	m.j.look()
	return n, err
}

// pick chooses a moment among those that are still to come. The first power cut
// is after the first fetched byte; later ones may be in any boot.
func (j *journey) pick(rng *rand.Rand, uncut [proved]int64, first bool) *moment {
	j.mu.Lock()
	defer j.mu.Unlock()
	var left []stage
	if !first {
		left = append(left, starting)
	}
	if j.high < j.size {
		left = append(left, downloading)
	}
	if j.farthest < loading {
		left = append(left, installing, loading, proving)
	}
	m := &moment{stage: left[rng.IntN(len(left))]}
	if m.served = m.stage == downloading && rng.IntN(2) == 0; m.served {
		m.n = j.high + 1 + rng.Int64N(j.size-j.high)
	} else {
		m.n = 1 + rng.Int64N(max(1, uncut[m.stage]))
	}
	return m
}

func (j *journey) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return fmt.Sprintf("it is %s, with %d accesses to the disk since, and %d of %d bytes of the payload were served",
		j.stage, j.count, j.high, j.size)
}

// TestJourney keeps the watching itself honest.
func TestJourney(t *testing.T) {
	j := &journey{ctx: t.Context(), to: "2", size: 10}
	j.powerOn()
	say := func(s string) { fmt.Fprint(j, s) }
	say("loader: slot _a: verified and loaded (ms)\nmios: hea")
	if j.stage != starting {
		t.Errorf("stage = %v, want %v", j.stage, starting)
	}
	say("lthy (iot 1, slot _a)\r\n")
	j.arm(&moment{stage: loading, n: 2})
	steps := []struct {
		do   func()
		want stage
	}{
		{func() {}, downloading},
		{func() { j.high = 10; j.enter(installing) }, installing},
		{func() { say("[   40.5] reboot: Restarting system\r\n") }, loading},
		{j.access, loading},
	}
	for i, s := range steps {
		if s.do(); j.stage != s.want || j.trap.isReached {
			t.Fatalf("after step %d: stage = %v, trapped %v, want %v and not trapped", i, j.stage, j.trap.isReached, s.want)
		}
	}
	close(j.trap.sprung)
	if j.access(); !j.trap.isReached {
		t.Error("the second access is not the moment")
	}
	say("loader: slot _b: verified and loaded (ms)\r\nmios: healthy (iot 2, slot _b)\r\n")
	if j.stage != proved || j.took[loading] != 2 {
		t.Errorf("stage = %v after %d accesses when loading, want %v after 2", j.stage, j.took[loading], proved)
	}
}
