// Package check looks at an app before it is published: Inspect gathers all
// that is known of an upload, Judge says what is wrong with it by a policy that
// is data. docs/checks.md describes both.
//
// Inspect parses what strangers made: mios/publish/app/worker runs it in a
// process that holds no key.
package check

import (
	"mios"
	"mios/publish/app/google"
	"mios/publish/app/report"
)

// A File is one package of an upload, as it was read.
type File struct {
	Name      string            `json:"name"`            // as it was given
	Split     string            `json:"split,omitempty"` // name of the split, "" of the base
	Size      int64             `json:"size"`            // bytes
	Signature *report.Signature `json:"signature"`       // as platforms from Android 7.0 judge it
	ABIs      []string          `json:"abis,omitempty"`
}

// Facts are what is known of an upload: a base package and its splits. They are
// kept as JSON, to compare the next version with.
type Facts struct {
	App    *report.App   `json:"app"`              // the base package
	Splits []*report.App `json:"splits,omitempty"` // by name
	Files  []File        `json:"files"`            // all of these, in this order
	Size   int64         `json:"size"`             // of all files, in bytes

	Signers []mios.Digest `json:"signers"` // certificates that sign now, sorted; none: the signature does not verify
	Lineage []mios.Digest `json:"lineage"` // earlier ones, the oldest first

	// OldPlatforms is how platforms before Android 7.0 judge the signature, if
	// the app is for some of them: by JAR signatures alone.
	OldPlatforms *report.Signature `json:"old_platforms,omitempty"`

	Set    []string       `json:"set_problems"`           // what makes the files no set, in sentences
	Code   string         `json:"code_problem,omitempty"` // why the code cannot be read
	Google *google.Report `json:"google,omitempty"`       // nil: the code cannot be read

	Icon        []byte   `json:"icon,omitempty"`         // PNG of IconSize pixels; none: there is no icon
	IconMissing []string `json:"icon_missing,omitempty"` // what of it could not be drawn
}

// IconSize is the width and height of [Facts.Icon] in pixels.
const IconSize = 512

// A Severity says what a finding is to a submission.
type Severity string

// The severities, the worst first.
const (
	Refuse Severity = "refuse" // it cannot be released
	Warn   Severity = "warn"   // a reviewer decides
	Note   Severity = "note"   // good to know
	Off    Severity = "off"    // in a policy: not said at all
)

// A Finding is one thing to say of a submission.
type Finding struct {
	ID       string   `json:"id"` // of the rule: "signature", "target-sdk"; see Rules
	Severity Severity `json:"severity"`
	Subject  string   `json:"subject,omitempty"` // what it is about: a permission, a component, a file
	Detail   string   `json:"detail"`            // a sentence
	Advice   string   `json:"advice,omitempty"`  // what to do
}

// Worst returns the worst severity among the findings, [Off] of none.
func Worst(list []Finding) Severity {
	worst := Off
	for _, f := range list {
		if rank(f.Severity) < rank(worst) {
			worst = f.Severity
		}
	}
	return worst
}

func rank(s Severity) int {
	switch s {
	case Refuse:
		return 0
	case Warn:
		return 1
	case Note:
		return 2
	}
	return 3
}
