package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mios/device/app"
	"mios/device/socket"
)

// outage is a repository that is away at times, and notes when it was asked.
type outage struct {
	Repository
	begin time.Time
	asked []time.Duration
	away  bool
}

func (o *outage) Refresh(context.Context) error {
	o.asked = append(o.asked, time.Since(o.begin))
	if o.away {
		return errors.New("the network is away")
	}
	return nil
}

func (o *outage) CheckFresh() error { return nil }

// nothing is a device without packages.
type nothing struct{ Packages }

func (nothing) List() []app.Status { return nil }

// TestRun looks in intervals, sooner again after a failure, and knows after a
// restart when.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		o := &outage{begin: time.Now()}
		const interval = 6 * time.Hour
		run := func(d time.Duration) *Store {
			s, err := Open(Config{Dir: dir, Repository: o, Packages: nothing{}, Interval: interval, Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), d)
			defer cancel()
			s.Run(ctx)
			return s
		}
		within := func(what string, got, low, high time.Duration) {
			t.Helper()
			if got < low || got > high+2*time.Second {
				t.Errorf("%s after %v, want %v to %v", what, got, low, high)
			}
		}
		// A device that was switched off in between keeps what it had in mind.
		for range 12 {
			run(20 * time.Minute)
		}
		run(4 * time.Hour)
		if len(o.asked) == 0 {
			t.Fatal("it never looked")
		}
		within("the first look", o.asked[0], interval/2, interval)
		run(4 * interval)
		for i := 1; i < len(o.asked); i++ {
			within("the next look", o.asked[i]-o.asked[i-1], interval*3/4, interval+time.Second)
		}
		if n := len(o.asked); n < 5 {
			t.Errorf("%d looks in 32 hours", n)
		}
		o.away = true
		o.asked = nil
		s := run(30 * time.Hour)
		for i := 1; i < len(o.asked); i++ {
			wait := min(minBackoff<<min(i-1, 20), interval)
			within(fmt.Sprintf("look %d in an outage", i), o.asked[i]-o.asked[i-1], wait/2, wait)
		}
		if n := len(o.asked); n < 10 || n > 40 {
			t.Errorf("%d looks in an outage of 30 hours", n)
		}
		if rep := s.Report(); !strings.Contains(rep.Error, "the network is away") || s.state.Failures != len(o.asked) {
			t.Errorf("report %+v, %d failures", rep, s.state.Failures)
		}
		// Over a restart the wait stays as long as it was.
		before := len(o.asked)
		for range 30 {
			run(time.Minute)
		}
		if n := len(o.asked) - before; n > 1 {
			t.Errorf("%d looks in half an hour of restarts", n)
		}
		// A clock that was years ahead does not stop the looks.
		o.away = false
		s.state.Next = time.Now().Add(1e5 * time.Hour).Unix()
		if err := s.write(stateFile, &s.state); err != nil {
			t.Fatal(err)
		}
		o.asked = nil
		run(2 * interval)
		if len(o.asked) == 0 {
			t.Error("it does not look any more")
		}
	})
	none := &outage{}
	s, err := Open(Config{Dir: t.TempDir(), Repository: none, Packages: nothing{}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	s.Run(t.Context()) // without an interval it does not look by itself
	if len(none.asked) != 0 {
		t.Errorf("it looked %d times", len(none.asked))
	}
}

// TestBrokenState begins anew with what cannot be read.
func TestBrokenState(t *testing.T) {
	for _, text := range []string{"", "{", `{"wanted":5}`, `{"apps":{"a.a":null}}`, `{"apps":{"a.a":{"package":"b.b"}}}`} {
		dir := t.TempDir()
		for _, name := range []string{stateFile, reportFile} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s, err := Open(Config{Dir: dir, Repository: &outage{}, Packages: nothing{}, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		if rep := s.Report(); len(rep.Apps) != 0 || rep.String() == "" {
			t.Errorf("%q: report %+v", text, rep)
		}
		if _, err := s.Update(t.Context(), nil, Options{}, quiet); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestCut takes the network away at each request of an install and of an update by
// a delta, and switches the device off. After the next start what was there is
// whole, and the same is done to its end.
func TestCut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.release(spec{code: 1}, nil)
	w.apks[2] = makeAPK(t, spec{code: 2})
	w.release(spec{code: 2}, w.delta(1))
	both := w.releases
	for n := 0; ; n++ {
		w.dir, w.releases = t.TempDir(), both[:1]
		w.tamper(nil)
		w.publish()
		w.boot()
		w.cutAfter(n)
		_, installErr := w.store.Install(t.Context(), pkg, quiet)
		w.boot()
		if installErr != nil {
			w.has(0)
			w.tamper(nil)
			w.install(Installed, "")
		}
		w.releases = both
		w.publish()
		w.cutAfter(n)
		w.store.Update(t.Context(), nil, Options{}, quiet)
		st, err := w.manager.Get(pkg)
		if err != nil {
			t.Fatal(err)
		}
		w.has(st.VersionCode)
		w.boot()
		w.tamper(nil)
		if done := st.VersionCode == 2; done {
			w.update(Current, "")
		} else if r := w.update(Updated, ""); r.Way != Delta {
			t.Errorf("cut at %d: %+v", n, r)
		}
		w.has(2)
		if left := w.parts(); len(left) != 0 {
			t.Errorf("cut at %d: downloads are left: %q", n, left)
		}
		if st.VersionCode == 2 && installErr == nil {
			if n < 4 {
				t.Errorf("all is done with %d requests", n)
			}
			return
		}
	}
}

// cutAfter answers n requests, and hangs up in the middle of the next and all
// later ones.
func (w *world) cutAfter(n int) {
	var mu sync.Mutex
	w.tamper(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			mu.Lock()
			left := n
			n--
			mu.Unlock()
			if left <= 0 {
				rw = &shortWriter{rw, 100}
			}
			next.ServeHTTP(rw, r)
		})
	})
}

// TestSocket asks a store over installd's socket, and waits while it is at work.
func TestSocket(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one := w.release(spec{code: 1}, nil)
	c := &Client{App: app.Client{Socket: filepath.Join(w.dir, "socket", "installd")}}
	l, err := socket.Listen(c.App.Socket, os.Getgid())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	var there atomic.Bool
	open := func() (*Store, error) {
		if !there.Load() {
			return nil, errors.New("not yet")
		}
		return w.store, nil
	}
	go func() { served <- w.manager.Serve(ctx, l, Serve(ctx, open, slog.New(slog.DiscardHandler))) }()
	defer func() { cancel(); <-served }()
	if _, err := c.Report(t.Context()); err == nil || !strings.Contains(err.Error(), "this device has no repository: not yet") {
		t.Errorf("before it can be opened: %v", err)
	}
	there.Store(true)

	// Somebody installs over a slow line, and somebody else waits for that.
	held, release := make(chan struct{}), make(chan struct{})
	once := sync.OnceFunc(func() { close(held) })
	w.tamper(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, one.Target.File()) {
				once()
				<-release
			}
			next.ServeHTTP(rw, r)
		})
	})
	first := make(chan *Result, 1)
	go func() {
		r, err := c.Install(ctx, pkg)
		if err != nil {
			t.Error(err)
		}
		first <- r
	}()
	<-held
	var steps []string
	waiting := sync.OnceFunc(func() { close(release) })
	other := &Client{App: c.App, Say: func(p Progress) {
		steps = append(steps, p.Step)
		if p.Step == Waiting {
			waiting()
		}
	}}
	found, err := other.Search(t.Context(), "tee")
	if err != nil || len(found.Apps) != 1 || len(steps) == 0 || steps[0] != Waiting {
		t.Errorf("Search = %+v, %v, with the steps %q", found, err, steps)
	}
	if r := <-first; r.Outcome != Installed || r.To != 1 {
		t.Errorf("Install = %+v", r)
	}
	sh, err := c.Show(t.Context(), pkg)
	if err != nil || sh.Installed == nil || sh.Installed.VersionCode != 1 || sh.Release != nil {
		t.Errorf("Show = %+v, %v", sh, err)
	}
	list, err := c.Update(t.Context(), nil, Options{})
	if err != nil || len(list) != 1 || list[0].Outcome != Current {
		t.Errorf("Update = %v, %v", list, err)
	}
	listed, err := c.List(t.Context())
	if err != nil || len(listed) != 1 || listed[0].Package != pkg || listed[0].Result == nil || listed[0].Result.Outcome != Current {
		t.Errorf("List = %+v, %v", listed, err)
	}
	if rep, err := c.Report(t.Context()); err != nil || rep.Time == 0 || rep.Apps[pkg] == nil {
		t.Errorf("Report = %+v, %v", rep, err)
	}
	_, err = c.Install(t.Context(), "org.not.there")
	if e, ok := errors.AsType[*app.Error](err); !ok || e.Code != app.CodeInvalid || !strings.Contains(e.Message, "no release of it for this device") {
		t.Errorf("Install of what is not there: %v", err)
	}
	var none any
	if err := c.App.Ask(t.Context(), "store-nope", nil, &none, nil); err == nil || !strings.Contains(err.Error(), "unknown request") {
		t.Errorf("a verb that is none: %v", err)
	}
	if err := c.App.Ask(t.Context(), opShow, map[string]int{"more": 1}, &none, nil); err == nil || !strings.Contains(err.Error(), "more") {
		t.Errorf("an argument that is none: %v", err)
	}
}
