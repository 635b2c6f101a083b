package ota

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"mios"
	"mios/api/repo"
	"mios/device/fetch"
	"mios/internal/progress"
)

// ErrBudget: the update may fetch no more.
var ErrBudget = fetch.ErrBudget

// A Way is how a device comes to a release.
type Way string

// The ways, from the one that usually fetches least.
const (
	Delta    Way = "delta"    // a payload from what runs
	Adaptive Way = "adaptive" // the chunks that are in neither slot
	Full     Way = "full"     // the payload that brings everything
)

// planWorth is how many times an index a delta may have before it is asked what
// the adaptive way would fetch: to ask costs a part of the index.
const planWorth = 4

// An option is a way that is open, and how many bytes it has still to fetch.
type option struct {
	way  Way
	cost int64
}

// choose picks the way that fetches least, of those that are open, and says why.
// The error wraps [ErrBudget] if that is more than the update may fetch.
func (j *job) choose(ctx context.Context) error {
	j.weighed = j.rel.Target.SHA256
	options, err := j.options(ctx)
	if err != nil {
		return err
	}
	in := j.rec.Install
	if len(options) == 0 {
		return fmt.Errorf("no way to it is open now%s: %w: it is tried again later", j.closed(), mios.ErrNotFound)
	}
	best := options[0]
	in.Why = because(options) + j.closed()
	if best.way != in.way() || in.Size == 0 {
		// The delta's metadata is read again, for it says where its data begins.
		in.Way, in.Size, in.Checkpoint, in.Delta, in.reached = best.way, best.cost, j.md.Start(), mios.Digest{}, 0
		if best.way == Full {
			in.Size = j.rel.Target.Length // with the metadata, which is there
		}
	}
	if best.way == Adaptive {
		in.Size, in.reached = best.cost, 0 // what is there is not fetched again
	} else {
		j.plan = nil
	}
	if left, limited := j.budget.Left(); limited && best.cost > left {
		return fmt.Errorf("the cheapest way to it, %s, fetches %s, and %s are left of the update's budget of %s%s: %w",
			best.way, progress.Size(best.cost), progress.Size(left), progress.Size(j.budget.Limit), j.closed(), ErrBudget)
	}
	j.log.Info("way to the release", "way", in.Way, "bytes", best.cost, "why", in.Why)
	return nil
}

// options lists the ways that are open, the cheapest first, and of the same cost
// the one that was begun.
func (j *job) options(ctx context.Context) (options []option, err error) {
	in := j.rec.Install
	add := func(w Way, whole int64) {
		if in.Size > 0 && in.way() == w && w != Adaptive {
			whole = in.Size - in.Checkpoint.Offset
			options = slices.Insert(options, 0, option{w, whole})
			return
		}
		options = append(options, option{w, whole})
	}
	if j.isOpen(Full) {
		add(Full, j.rel.Target.Length-j.md.Size())
	}
	d, err := j.delta()
	if err != nil {
		return nil, err
	}
	if d != nil && j.isOpen(Delta) {
		add(Delta, d.Target.Length)
	}
	cost, err := j.adaptiveCost(ctx, options)
	if err != nil {
		return nil, err
	}
	if cost >= 0 {
		add(Adaptive, cost)
	}
	slices.SortStableFunc(options, func(a, b option) int { return cmp.Compare(a.cost, b.cost) })
	return options, nil
}

// adaptiveCost returns what the chunks would fetch, or -1: the way is not open,
// or to ask costs more than it may gain on the other options.
func (j *job) adaptiveCost(ctx context.Context, others []option) (int64, error) {
	a, in := j.rel.Adaptive, j.rec.Install
	if a == nil || !j.isOpen(Adaptive) {
		return -1, nil
	}
	worth := len(others) == 0 || in.Size > 0 && in.way() == Adaptive
	if !worth {
		least := slices.MinFunc(others, func(a, b option) int { return cmp.Compare(a.cost, b.cost) })
		worth = least.cost > planWorth*a.Index.Length
	}
	switch {
	case !worth:
		return -1, nil
	case j.planned.digest == j.rel.Target.SHA256:
		return j.planned.cost, nil
	}
	err := j.adaptive(ctx)
	switch {
	case err == nil:
		j.planned.digest, j.planned.cost = j.rel.Target.SHA256, j.plan.Fetch
		return j.plan.Fetch, nil
	case isAway(err):
		j.absent(Adaptive, err)
	case misfit(err):
		j.failed(Adaptive, err)
	default:
		return -1, err
	}
	return -1, nil
}

// affordable refuses to go on by a way that was found to fetch more than the
// update still may.
func (j *job) affordable() error {
	in := j.rec.Install
	left, limited := j.budget.Left()
	if need := in.Size - in.Checkpoint.Offset; in.way() == Adaptive || in.Checkpoint.Finished || !limited || need <= left {
		return nil
	}
	return fmt.Errorf("%s, and %s are left of the update's budget of %s: %w", cmp.Or(in.Why, "there is more to fetch"), progress.Size(left), progress.Size(j.budget.Limit), ErrBudget)
}

// because says why the first of the options is taken.
func because(options []option) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s fetches %s", options[0].way, progress.Size(options[0].cost))
	for _, o := range options[1:] {
		fmt.Fprintf(&b, ", %s would fetch %s", o.way, progress.Size(o.cost))
	}
	return b.String()
}

// closed says which ways are not open, and why.
func (j *job) closed() string {
	in := j.rec.Install
	var b strings.Builder
	for _, w := range []Way{Delta, Adaptive, Full} {
		if why := in.Failed[w]; why != "" {
			fmt.Fprintf(&b, "; %s did not fit: %s", w, why)
		} else if a := in.Away[w]; !j.isOpen(w) {
			fmt.Fprintf(&b, "; %s is not reachable now, and is tried again after %s: %s", w, a.Again.Format(time.TimeOnly), a.Why)
		}
	}
	return b.String()
}

// misfit tells whether an error means that a way does not lead to the release
// from here, so that another may; a network that is down does not.
func misfit(err error) bool {
	for _, is := range []error{mios.ErrInvalid, mios.ErrNotFound, mios.ErrConflict, mios.ErrDenied, repo.ErrHash, repo.ErrLength} {
		if errors.Is(err, is) {
			return !errors.Is(err, ErrBudget)
		}
	}
	return false
}

func (j *job) failed(w Way, err error) {
	in := j.rec.Install
	if in.Failed == nil {
		in.Failed = map[Way]string{}
	}
	in.Failed[w] = sentence(err)
	j.log.Warn("this way does not lead to the release", "way", w, "err", err)
}

// next goes over to the next cheapest way after one that did not fit, or whose
// files no mirror has now. A full payload that does not fit is the update's error.
func (j *job) next(ctx context.Context, cause error) error {
	in := j.rec.Install
	switch {
	case isAway(cause):
		j.absent(in.way(), cause)
	case in.way() == Full || !misfit(cause):
		return cause
	default:
		j.failed(in.Way, cause)
	}
	if j.body != nil {
		j.body.Close()
		j.body = nil
	}
	j.payload, j.plan = nil, nil
	if err := j.choose(ctx); err != nil {
		return errors.Join(fmt.Errorf("%w (after %w)", err, cause), j.save())
	}
	j.rec.State = Downloading
	if err := j.save(); err != nil {
		return err
	}
	return errAgain
}

// delta returns the release's delta from what runs, or nil.
func (j *job) delta() (*repo.Delta, error) {
	if len(j.rel.Deltas) == 0 {
		return nil, nil
	}
	p, err := j.partition("vbmeta" + j.cfg.Slot)
	if err != nil {
		return nil, err
	}
	for i := range j.rel.Deltas {
		d := &j.rel.Deltas[i]
		if d.FromSize > p.Size() {
			continue
		}
		b := make([]byte, d.FromSize)
		if _, err := p.ReadAt(b, 0); err != nil && err != io.EOF {
			return nil, fmt.Errorf("partition vbmeta%s: %w", j.cfg.Slot, err)
		}
		if mios.Sum(b) == d.From {
			return d, nil
		}
	}
	return nil, nil
}

// fetch opens a part of one of the release's files, on the update's budget.
func (j *job) fetch(ctx context.Context, t repo.Target, offset, length int64) (io.ReadCloser, error) {
	if err := j.budget.Check(); err != nil {
		return nil, err
	}
	body, err := j.cfg.Fetcher.Open(ctx, t.File(), offset, length)
	if err != nil {
		return nil, away(err)
	}
	return j.budget.Body(awayBody{body}), nil
}

// save makes the record durable, with what the update has fetched.
func (j *job) save() error {
	if in := j.rec.Install; in != nil {
		in.Spent = j.budget.Spent()
	}
	return j.rec.save(j.cfg.Store)
}

// charge saves what an attempt that failed has fetched, where nothing else was
// reached that is saved with it.
func (j *job) charge() error {
	if in := j.rec.Install; in == nil || in.Spent == j.budget.Spent() {
		return nil
	}
	return j.save()
}
