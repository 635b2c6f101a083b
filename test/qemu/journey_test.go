package qemu_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"mios/emulator"
)

// A stage is a part of a device's way through an update.
type stage int

const (
	loading     stage = iota // power on: the loader reads and verifies the old slot
	starting                 // its kernel, init, services, health checks
	downloading              // healthy, until the payload's last byte is served
	installing               // the rest of writing it, verification, activation, going down
	switching                // the loader has the new slot to load
	proving                  // the new slot's kernel, init, services, health checks
	proved                   // the new slot is healthy
	using                    // no update: the device is healthy, and somebody uses it
)

func (s stage) String() string {
	return [...]string{"loading", "starting", "downloading", "installing", "switching", "proving", "proved", "using"}[s]
}

// A phase is what a device is at: in which stage, and what it wrote last, as
// content names it; any if what is empty.
type phase struct {
	stage stage
	what  string
}

// theEnd is no content: at the end of a way all is done, and must be durable.
const theEnd = "the end"

func (p phase) String() string { return fmt.Sprintf("%s: %s", p.stage, p.what) }

// is reports whether a phase is the one that is meant.
func (p phase) is(meant phase) bool {
	return p.stage == meant.stage && (meant.what == "" || p.what == meant.what)
}

// A moment is when to cut the power: when for the n-th time in a phase the
// device is about to write or to flush while there is something that it has
// written and not flushed. What is on the disk changes at no other time. If the
// stage is over before, it is the next such time, and at the latest the end of
// the way.
type moment struct {
	phase
	n int
}

func (m moment) String() string { return fmt.Sprintf("%s, the %d. time", m.phase, m.n) }

// A trap waits for a moment. From then on the disk does not answer, until the
// power is cut.
type trap struct {
	moment
	left      int
	isReached bool
	at        phase // where it was reached
	unflushed int   // writes at that moment
	reached   chan struct{}
}

// A journey watches a device on its way through an update: by its disk, its
// console, and what it fetches. It is safe for concurrent use.
type journey struct {
	ctx  context.Context
	to   string // version of the release; "" if there is none to update to
	size int64  // of its payload; 0 if what is fetched is not watched, and downloading is all of the update
	disk layout

	mu        sync.Mutex
	stage     stage
	activated bool          // the device went down with the new slot to be loaded
	moments   map[phase]int // that were there to cut the power at
	way       []phase       // the keys of moments, as they came first
	last      phase         // of the newest write
	named     string        // the newest content that has a name of its own
	served    int64         // bytes of the payload, in total
	high      int64         // end of the part of the payload that was served
	asked     []string      // requests for the payload
	late      []string      // what was fetched of the payload after it was installed
	again     []int64       // how many bytes each request asked for once more
	trap      *trap
	line      []byte // of the console, so far
}

// arm sets a trap; nil takes it away.
func (j *journey) arm(m *moment) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.trap = nil
	if m != nil {
		j.trap = &trap{moment: *m, left: m.n, reached: make(chan struct{})}
	}
}

// powerOn says that the device starts.
func (j *journey) powerOn() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.stage, j.line, j.last, j.named = loading, nil, phase{}, ""
	if j.activated {
		j.stage = switching
	}
}

// access is called before each access to the disk.
func (j *journey) access(a emulator.Access) {
	j.mu.Lock()
	if a.Op != emulator.Read && a.Unflushed > 0 {
		j.look(phase{j.stage, j.last.what}, a.Unflushed)
	}
	if a.Op == emulator.Write {
		j.wrote(j.disk.name(a))
	}
	hold := j.trap != nil && j.trap.isReached
	j.mu.Unlock()
	if !hold {
		return
	}
	select {
	case <-a.PowerOff:
	case <-j.ctx.Done():
	}
}

// wrote notes what a write is of. Somebody who uses a device does many things
// through the journal, so that what came before it tells them apart. The caller
// holds the lock.
func (j *journey) wrote(what string) {
	switch {
	case what != journal && what != anyFile:
		j.named = what
	case what == journal && j.stage == using && j.named != "":
		what += " behind " + j.named
	}
	j.last = phase{j.stage, what}
}

// look counts a moment, and tells who waits if it is the trap's. The caller
// holds the lock.
func (j *journey) look(now phase, unflushed int) {
	if j.moments == nil {
		j.moments = map[phase]int{}
	}
	if j.moments[now]++; j.moments[now] == 1 {
		j.way = append(j.way, now)
	}
	t := j.trap
	if t == nil || t.isReached || now.stage < t.stage {
		return
	}
	if now.is(t.phase) {
		t.left--
	}
	if t.left == 0 || now.stage > t.stage {
		t.isReached, t.at, t.unflushed = true, now, unflushed
		close(t.reached)
	}
}

// enter begins a stage. The caller holds the lock.
func (j *journey) enter(s stage) {
	j.stage = s
	if t := j.trap; s == proved && t != nil && !t.isReached {
		t.isReached, t.at = true, phase{proved, theEnd}
		close(t.reached)
	}
}

var (
	healthyLine = regexp.MustCompile(`mios: healthy \(\S+ (\S+), slot`)
	loadedLine  = regexp.MustCompile(`^loader: slot (_.): verified and loaded`)
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
		j.read(line)
	}
}

// read takes a line of the console. The caller holds the lock.
func (j *journey) read(line []byte) {
	healthy, loaded := healthyLine.FindSubmatch(line), loadedLine.FindSubmatch(line)
	switch {
	case healthy != nil && j.to == "":
		j.enter(using)
	case healthy != nil && string(healthy[1]) == j.to:
		j.enter(proved)
	case healthy != nil && j.size > 0 && j.high == j.size:
		j.enter(installing)
	case healthy != nil:
		j.enter(downloading)
	case (j.stage == installing || j.stage == downloading && j.size == 0 && j.to != "") && resetLine.Match(line):
		j.activated = true
		j.enter(switching)
	case loaded != nil && string(loaded[1]) == "_b" && j.to != "":
		j.activated = true
		j.enter(proving)
	case loaded != nil:
		j.enter(starting)
	}
}

// watch counts what is served of the file.
func (j *journey) watch(file string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, file) {
				var from int64
				fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from) // without one it is all of it
				j.mu.Lock()
				j.asked = append(j.asked, fmt.Sprintf("%s %q with %d served", j.stage, r.Header.Get("Range"), j.high))
				j.again = append(j.again, j.high-from)
				if j.activated {
					j.late = append(j.late, r.Header.Get("Range"))
				}
				j.mu.Unlock()
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
	return n, err
}

// phases returns those that are worth a power cut, as they follow each other
// from a stage on.
func (j *journey) phases(from stage) []phase {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(j.way), func(p phase) bool {
		return p.stage < from || p.stage == proved || p.what == anyFile || p == phase{using, journal}
	})
}

// plan chooses a seed's moments along the way that a device went without a
// power cut, from a stage on: one in every so many phases, so that as many seeds
// in a row cut in each of them; and now and then a boot after a power cut is cut
// off itself.
func plan(rng *rand.Rand, uncut *journey, from stage, seed, every uint64) []moment {
	var list []moment
	phases := uncut.phases(from)
	if from == using {
		phases = append(phases, phase{using, theEnd})
	}
	every = min(every, uint64(len(phases)))
	for i, p := range phases {
		if uint64(i)%every != seed%every {
			continue
		}
		// Not among the last ones: another time there may be fewer.
		list = append(list, moment{p, 1 + rng.IntN((uncut.moments[p]*3+4)/4)})
		if from < proved && rng.IntN(3) == 0 {
			boot := []moment{{phase{loading, ""}, 1 + rng.IntN(2)}, {phase{starting, ""}, 1 + rng.IntN(10)}}
			list = append(list, boot[rng.IntN(len(boot))])
		}
	}
	return list
}

func (j *journey) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return fmt.Sprintf("it is %s, what it wrote last is %s, and %d of %d bytes of the payload were served", j.stage, j.last, j.high, j.size)
}

// story returns the phases and how many moments each had.
func (j *journey) story() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var b strings.Builder
	for _, p := range j.way {
		fmt.Fprintf(&b, "\n\t%4d %s", j.moments[p], p)
	}
	return b.String()
}

// TestJourney keeps the watching itself honest.
func TestJourney(t *testing.T) {
	j := &journey{ctx: t.Context(), to: "2", size: 10, disk: layout{{"misc", 0, 8192}}}
	j.powerOn()
	say := func(s string) { fmt.Fprint(j, s) }
	write := func(off int64) func() {
		return func() { j.access(emulator.Access{Op: emulator.Write, Off: off, Unflushed: 1, PowerOff: closed}) }
	}
	say("loader: slot _a: verified and loaded (ms)\nmios: hea")
	if j.stage != starting {
		t.Errorf("stage = %v, want %v", j.stage, starting)
	}
	say("lthy (iot 1, slot _a)\r\n")
	j.arm(&moment{phase{switching, "boot record"}, 2})
	steps := []struct {
		do   func()
		want stage
	}{
		{func() {}, downloading},
		{write(4096), downloading},
		{write(4096), downloading},
		{func() { j.high = 10; j.enter(installing) }, installing},
		{func() { say("[   40.5] reboot: Restarting system\r\n") }, switching},
		{write(0), switching},    // before it: the boot record
		{write(4096), switching}, // the boot control
		{func() { j.access(emulator.Access{Op: emulator.Read, Unflushed: 1}) }, switching},
		{func() { j.access(emulator.Access{Op: emulator.Flush}) }, switching},
	}
	for i, s := range steps {
		if s.do(); j.stage != s.want || j.trap.isReached {
			t.Fatalf("after step %d: stage = %v, trapped %v, want %v and not trapped", i, j.stage, j.trap.isReached, s.want)
		}
	}
	if write(0)(); !j.trap.isReached || j.trap.unflushed != 1 {
		t.Error("the second write behind the boot record is not the moment")
	}
	if want := (phase{switching, "boot control"}); j.moments[want] != 1 {
		t.Errorf("moments = %v, want one of %v", j.moments, want)
	}
	j.arm(&moment{phase{proving, "journal"}, 1})
	say("loader: slot _b: verified and loaded (ms)\r\nmios: healthy (iot 2, slot _b)\r\n")
	if j.stage != proved || !j.trap.isReached {
		t.Errorf("stage = %v, trapped %v, want %v and trapped", j.stage, j.trap.isReached, proved)
	}
	if j.powerOn(); j.stage != switching {
		t.Errorf("stage = %v, want %v", j.stage, switching)
	}
}

// closed is the power of a machine that is off.
var closed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// TestPlan: as many seeds in a row as there are in a run meet every phase.
func TestPlan(t *testing.T) {
	way := []phase{
		{starting, journal}, {downloading, "state A"}, {downloading, anyFile}, {downloading, "slot"}, {installing, "slot"}, {installing, "state B"},
		{switching, "boot control"}, {proving, journal}, {proving, "boot control"}, {proved, "journal"},
	}
	j := &journey{way: way, moments: map[phase]int{}}
	for i, p := range way {
		j.moments[p] = 1 + i
	}
	met := map[phase]bool{}
	for seed := range uint64(seedsPerRun) {
		for _, m := range plan(rand.New(rand.NewPCG(seed, 1)), j, downloading, seed, seedsPerRun) {
			met[m.phase] = true
			if m.n < 1 || m.stage >= downloading && m.n > j.moments[m.phase] {
				t.Errorf("seed %d: %v", seed, m)
			}
		}
	}
	for _, p := range way {
		if want := p.stage >= downloading && p.stage != proved && p.what != anyFile; met[p] != want {
			t.Errorf("phase %v is met: %v, want %v", p, met[p], want)
		}
	}
	used := &journey{way: []phase{{using, "package"}}, moments: map[phase]int{{using, "package"}: 1}}
	if list := append(plan(rand.New(rand.NewPCG(1, 1)), used, using, 1, seedsPerRun), plan(rand.New(rand.NewPCG(2, 1)), used, using, 2, seedsPerRun)...); len(list) != 2 {
		t.Errorf("two seeds of an installation with one phase cut at %v, want once there and once at the end", list)
	}
}
