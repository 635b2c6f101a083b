package ota

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"mios"
	"mios/format/bootctl"
)

// Waits after attempts that failed: twice as long each time.
const (
	firstRetry = 15 * time.Second
	lastRetry  = time.Hour
)

// errNothing means that there is no release to install.
var errNothing = fmt.Errorf("no newer release: %w", mios.ErrNotFound)

// A nothingError is errNothing in the repository's words.
type nothingError struct{ err error }

func (e *nothingError) Error() string   { return e.err.Error() }
func (e *nothingError) Unwrap() []error { return []error{e.err, errNothing} }

// An Engine updates a device. Its methods may be called from several
// goroutines; Run from one.
type Engine struct {
	cfg      Config
	log      *slog.Logger
	requests chan request
	rec      *Record // Run's
	every    int64   // saveEvery
	outside  bool    // this boot is not healthy, for a reason that not the device alone decides
	// begun is a release that could not be begun in this boot: what was fetched
	// of it, and, if the budget is too small for it, the error.
	begun struct {
		digest  mios.Digest
		spent   int64
		tooMuch error
	}
	weighed mios.Digest // the release whose ways this boot has compared
	// planned is what the chunks of a release would fetch, if the slot is as it was
	// then.
	planned struct {
		digest mios.Digest
		cost   int64
	}

	mu      sync.Mutex
	status  Status
	changed chan struct{} // closed when status changes
	busy    bool
}

// A request is something for Run to do.
type request struct {
	do   func(ctx context.Context) error
	done chan error
}

// New returns an engine that Run starts.
func New(cfg Config) *Engine {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Tries == 0 {
		cfg.Tries = DefaultTries
	}
	if cfg.Jitter == nil {
		cfg.Jitter = func(d time.Duration) time.Duration {
			return d - d/10 + time.Duration(rand.Int64N(int64(d/5)+1))
		}
	}
	return &Engine{
		cfg: cfg, log: cfg.Log, requests: make(chan request), rec: &Record{State: Idle}, every: saveEvery, changed: make(chan struct{}), busy: true,
		status: Status{State: CleanUp, Health: "checking", Version: cfg.Device.Version, BuildTime: cfg.Device.BuildTime, Slot: cfg.Slot},
	}
}

// Run settles what the last boot left, decides by health checks whether this
// slot stays, and then looks for updates until ctx ends.
func (e *Engine) Run(ctx context.Context) error {
	if err := e.boot(ctx); err != nil {
		return err
	}
	if e.cfg.Complete != nil {
		e.cfg.Complete(ctx, &e.cfg)
	}
	fails := 0
	for {
		e.idle(true)
		var timer <-chan time.Time
		if wait, periodic := e.wait(fails); periodic {
			timer = time.After(wait)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case r := <-e.requests:
			e.idle(false)
			err := r.do(ctx)
			if err := e.judgeAgain(ctx, err); err != nil {
				return err
			}
			e.idle(true) // before the answer: whoever has it may ask again
			r.done <- err
		case <-timer:
			e.idle(false)
			err := e.attempt(ctx, true, false)
			if err != nil && !errors.Is(err, errNothing) {
				fails++
			} else {
				fails = 0
			}
			if err := e.judgeAgain(ctx, err); err != nil {
				return err
			}
		}
	}
}

// wait returns after which time to look for a release, and whether to look at
// all without being asked. The first look of a boot is at once: an update may
// be under way.
func (e *Engine) wait(fails int) (time.Duration, bool) {
	interval := time.Duration(e.cfg.Device.Update.Interval) * time.Second
	pending := e.rec.State != Idle
	switch {
	case e.rec.State == NeedReboot:
		return firstRetry, e.cfg.Device.Update.AutoReboot
	case fails > 0 && (interval > 0 || pending):
		retry := min(firstRetry<<min(fails-1, 10), lastRetry)
		if interval > 0 {
			retry = min(retry, max(interval, firstRetry))
		}
		return e.cfg.Jitter(retry), true
	case !e.looked():
		return 0, interval > 0 || pending
	}
	return e.cfg.Jitter(interval), interval > 0
}

// looked reports whether this boot has looked for a release.
func (e *Engine) looked() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.status.looked
}

// idle says whether the engine takes requests.
func (e *Engine) idle(yes bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.busy = !yes
}

// ask has Run do something, and returns what came of it. The error wraps
// [mios.ErrConflict] if Run is at something else.
func (e *Engine) ask(ctx context.Context, do func(ctx context.Context) error) error {
	e.mu.Lock()
	busy, state := e.busy, e.status.State
	e.mu.Unlock()
	if busy {
		return fmt.Errorf("the updater is at work (%s): %w: wait for it, or watch it with update_engine_client --follow", state, mios.ErrConflict)
	}
	return e.queue(ctx, do)
}

// queue has Run do something once it is at nothing else, and returns what came
// of it.
func (e *Engine) queue(ctx context.Context, do func(ctx context.Context) error) error {
	r := request{do, make(chan error, 1)}
	select {
	case e.requests <- r:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Check looks for a release. The error wraps [mios.ErrNotFound] if there is
// none to install.
func (e *Engine) Check(ctx context.Context) error {
	return e.ask(ctx, func(ctx context.Context) error { return e.attempt(ctx, false, false) })
}

// Update looks for a release and installs it, up to the reboot. If Run is at
// that already, of its own accord, Update waits for how it ends. The error
// wraps [mios.ErrNotFound] if there is none to install.
func (e *Engine) Update(ctx context.Context) error { return e.update(ctx, false) }

// UpdateUnmetered is Update, whatever the product's budget is.
func (e *Engine) UpdateUnmetered(ctx context.Context) error { return e.update(ctx, true) }

func (e *Engine) update(ctx context.Context, unmetered bool) error {
	e.mu.Lock()
	joined := e.busy
	e.mu.Unlock()
	return e.queue(ctx, func(ctx context.Context) error {
		if joined && e.rec.State == NeedReboot {
			return nil
		}
		return e.attempt(ctx, true, unmetered)
	})
}

// ResetBad forgets which releases are bad.
func (e *Engine) ResetBad(ctx context.Context) error {
	return e.ask(ctx, func(context.Context) error {
		e.rec.Bad = nil
		e.show(func(*Status) {})
		return e.rec.save(e.cfg.Store)
	})
}

// Reboot reboots into an update that is ready. The error wraps
// [mios.ErrConflict] if none is.
func (e *Engine) Reboot(ctx context.Context) error {
	if s, _ := e.Status(); s.State != NeedReboot {
		return fmt.Errorf("no update is ready (%s): %w: start one with update_engine_client --update", s.State, mios.ErrConflict)
	}
	return e.powerctl(ctx)
}

func (e *Engine) powerctl(ctx context.Context) error {
	if err := e.cfg.Properties.Set(ctx, "sys.powerctl", "reboot"); err != nil {
		return fmt.Errorf("reboot: %w", err)
	}
	return nil
}

// attempt looks for a release and installs it, or goes on with one.
func (e *Engine) attempt(ctx context.Context, install, unmetered bool) error {
	switch {
	case e.rec.State == NeedReboot && e.cfg.Device.Update.AutoReboot:
		return e.powerctl(ctx)
	case e.rec.State == NeedReboot:
		return fmt.Errorf("release %s is ready: %w: reboot into it with update_engine_client --reboot", e.rec.Install.Version, mios.ErrConflict)
	}
	j := &job{Engine: e, unmetered: unmetered}
	if !unmetered {
		j.budget.Limit = e.cfg.Device.Update.Budget
	}
	err := j.run(ctx, install)
	j.close()
	switch {
	case errors.Is(err, errNothing):
		e.log.Info("no update", "why", err)
		e.show(func(s *Status) { s.State, s.Update, s.Error, s.looked = Idle, nil, "", true })
	case err != nil:
		e.log.Error("update", "err", err)
		e.show(func(s *Status) { s.State, s.Error, s.looked = Reporting, sentence(err), true })
	case e.rec.State == NeedReboot && e.cfg.Device.Update.AutoReboot:
		e.log.Info("reboot into the update", "version", e.rec.Install.Version)
		return e.powerctl(ctx)
	}
	return err
}

// control changes the A/B control block in misc: f is given the numbers of
// the slot that runs and of the other one. What f does not change is not
// written.
func (e *Engine) control(f func(c *bootctl.Control, mine, other int) error) error {
	misc, err := e.cfg.Disk.Open("misc")
	if err != nil {
		return fmt.Errorf("boot control: %w", err)
	}
	defer misc.Close()
	b := make([]byte, bootctl.ControlSize)
	if _, err := misc.ReadAt(b, bootctl.ControlOffset); err != nil {
		return fmt.Errorf("boot control: %w", err)
	}
	c, err := bootctl.ParseControl(b)
	if err != nil {
		return fmt.Errorf("boot control: %w", err)
	}
	mine, err := c.Index(e.cfg.Slot)
	if err != nil {
		return err
	}
	if len(c.Slots) != 2 {
		return fmt.Errorf("boot control: %d slots, want 2: %w", len(c.Slots), mios.ErrInvalid)
	}
	if err := f(c, mine, 1-mine); err != nil {
		return err
	}
	now, err := c.Bytes()
	if err != nil || string(now) == string(b) {
		return err
	}
	if _, err := misc.WriteAt(now, bootctl.ControlOffset); err != nil {
		return fmt.Errorf("boot control: %w", err)
	}
	if err := misc.Sync(); err != nil {
		return fmt.Errorf("boot control: %w", err)
	}
	return nil
}
