package store

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"mios/device/app"
	"mios/device/fetch"
	"mios/internal/progress"
)

// An Outcome is how it stands with a package.
type Outcome string

// The outcomes.
const (
	Installed Outcome = "installed" // anew
	Updated   Outcome = "updated"
	Lowered   Outcome = "lowered" // to an older version, as the repository wants
	Current   Outcome = "current" // there is nothing newer for this device
	Waits     Outcome = "waits"   // for data
	Refused   Outcome = "refused" // by the device, until the repository says another thing
	Failed    Outcome = "failed"  // and will be tried again
	Foreign   Outcome = "foreign" // came as a file: the store leaves it alone
)

// A Result is what became of one package.
type Result struct {
	Package  string  `json:"package"`
	Label    string  `json:"label,omitempty"`
	Outcome  Outcome `json:"outcome"`
	Code     string  `json:"code,omitempty"` // of [app.Error]
	Why      string  `json:"why,omitempty"`
	Time     int64   `json:"time"` // seconds since 1970
	From     int64   `json:"from,omitempty"`
	FromName string  `json:"from_name,omitempty"`
	To       int64   `json:"to,omitempty"`
	ToName   string  `json:"to_name,omitempty"`
	Release  int64   `json:"release,omitempty"`
	Way      Way     `json:"way,omitempty"`
	Fetched  int64   `json:"fetched,omitempty"` // bytes
	// Delta is why a delta was fetched in vain.
	Delta string `json:"delta,omitempty"`
}

func (r *Result) end(o Outcome, code, why string) *Result {
	r.Outcome, r.Code, r.Why = o, code, why
	return r
}

// Err is why there is not what was asked for, or nil.
func (r *Result) Err() error {
	switch r.Outcome {
	case Waits, Refused, Failed, Foreign:
		return &app.Error{Code: r.Code, Message: r.Package + ": " + strings.TrimPrefix(r.Why, r.Package+": ")}
	}
	return nil
}

// String returns what a person reads of it, in a line.
func (r *Result) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", r.Package, r.Outcome)
	switch {
	case r.From != 0 && r.To != 0:
		fmt.Fprintf(&b, " %s -> %s", version(r.FromName, r.From), version(r.ToName, r.To))
	case r.From != 0 || r.To != 0:
		fmt.Fprintf(&b, " %s", version(r.FromName+r.ToName, r.From+r.To))
	}
	if r.Way != "" {
		fmt.Fprintf(&b, ", %s, %s fetched", r.Way, progress.Size(r.Fetched))
	}
	if r.Delta != "" {
		fmt.Fprintf(&b, " (%s)", r.Delta)
	}
	if r.Why != "" {
		fmt.Fprintf(&b, ": %s", r.Why)
	}
	return b.String()
}

func version(name string, code int64) string {
	if name == "" {
		return fmt.Sprint(code)
	}
	return fmt.Sprintf("%s (%d)", name, code)
}

// A Report is what was updated and what was not, and why.
type Report struct {
	Time  int64              `json:"time,omitempty"`  // of the last look, seconds since 1970
	Error string             `json:"error,omitempty"` // that it ended with
	Next  int64              `json:"next,omitempty"`  // when the device looks by itself
	Data  fetch.Usage        `json:"data,omitzero"`
	Apps  map[string]*Result `json:"apps"`
}

// String returns what a person reads of it, a line an app.
func (r *Report) String() string {
	var b strings.Builder
	for _, pkg := range slices.Sorted(maps.Keys(r.Apps)) {
		fmt.Fprintln(&b, r.Apps[pkg])
	}
	date := func(t int64) string { return time.Unix(t, 0).UTC().Format(time.DateTime) }
	if r.Time != 0 {
		fmt.Fprintf(&b, "looked %s\n", date(r.Time))
	}
	if r.Error != "" {
		fmt.Fprintf(&b, "failed: %s\n", r.Error)
	}
	if r.Next != 0 {
		fmt.Fprintf(&b, "looks again %s\n", date(r.Next))
	}
	fmt.Fprintf(&b, "data used: %s", progress.Size(r.Data.Spent))
	if r.Data.Budget > 0 {
		fmt.Fprintf(&b, " of %s until %s", progress.Size(r.Data.Budget), r.Data.Until.Format(time.DateOnly))
	}
	return b.String() + "\n"
}

// Report returns what became of the packages when the store last looked after
// them.
func (s *Store) Report() *Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rep
	r.Apps, r.Next, r.Data = maps.Clone(r.Apps), s.state.Next, s.cfg.Meter.Usage()
	return &r
}

// reported puts results into the report, and writes it.
func (s *Store) reported(results ...*Result) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range results {
		s.rep.Apps[r.Package] = r
	}
	s.rep.Next, s.rep.Data = s.state.Next, s.cfg.Meter.Usage()
	return s.write(reportFile, &s.rep)
}
