package ota

import (
	"fmt"
	"strings"
	"time"

	"mios/internal/units"
)

// String returns what a person reads of a status, in a few lines.
func (s Status) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "running   %s of %s, slot %s, %s\n", s.Version, time.Unix(s.BuildTime, 0).UTC().Format(time.DateTime), s.Slot, s.Health)
	fmt.Fprintf(&b, "state     %s\n", s.State)
	if u := s.Update; u != nil {
		fmt.Fprintf(&b, "update    %s, %s\n", u.Version, u.amount())
		if u.Why != "" {
			fmt.Fprintf(&b, "way       %s\n", u.Why)
		}
		if notes := strings.TrimSpace(u.Notes); notes != "" {
			fmt.Fprintf(&b, "new       %s\n", strings.ReplaceAll(notes, "\n", "\n          "))
		}
	}
	if s.Error != "" {
		fmt.Fprintf(&b, "failed    %s\n", s.Error)
	}
	for _, bad := range s.Bad {
		fmt.Fprintf(&b, "bad       %s: %s\n", bad.Version, bad.Reason)
	}
	if !s.LastCheck.IsZero() {
		fmt.Fprintf(&b, "checked   %s\n", s.LastCheck.UTC().Format(time.DateTime))
	}
	return b.String()
}

// Line returns what a person who watches reads of a status, in one line.
func (s Status) Line() string {
	switch {
	case s.State == Reporting:
		return fmt.Sprintf("%s %s", s.State, s.Error)
	case s.State == CleanUp:
		return fmt.Sprintf("%s health: %s", s.State, s.Health)
	case s.Update == nil || s.State == Checking || s.State == Idle:
		return string(s.State)
	case s.State == Downloading:
		return fmt.Sprintf("%s %s, %s%s", s.State, s.Update.Version, s.Update.Way.prefix(), s.Update.amount())
	}
	return fmt.Sprintf("%s %s", s.State, s.Update.Version)
}

func (p *Progress) amount() string {
	if p.Done == 0 || p.Total == 0 {
		return mebibytes(p.Total)
	}
	return fmt.Sprintf("%d %% of %s", p.Done*100/p.Total, mebibytes(p.Total))
}

// mebibytes is a size as it is told of updates; a delta may be smaller.
func mebibytes(n int64) string {
	if n < 1<<20 {
		return units.Binary(n)
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}

// prefix names the way before an amount.
func (w Way) prefix() string {
	if w == "" {
		return ""
	}
	return string(w) + ", "
}
