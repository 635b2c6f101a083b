package app

import (
	"io"
	"io/fs"
	"time"

	"mios"
	api "mios/api/repo"
)

// A State says how far a submission has come.
type State string

// The states of a submission. A released one stays approved: its releases say
// where it is.
const (
	Checking State = "checking" // its files are here and are looked at
	Review   State = "review"   // a person decides
	Approved State = "approved" // it may be released
	Rejected State = "rejected"
)

// Said is what a person calls the state: it is so.
func (s State) Said() string {
	switch s {
	case Review:
		return "in review"
	case Checking:
		return "being checked"
	}
	return string(s)
}

// DefaultSteps are the shares in which a release on production grows.
var DefaultSteps = []api.Share{100, 500, 2000, api.Everyone}

// An Upload is what a developer hands in: the base package and its splits, in
// any order.
type Upload struct {
	Files []UploadFile
	// Listing is a folder in fastlane's layout: what people see in the store. Nil
	// leaves the package's as it is.
	Listing fs.FS
	Note    string // what is new, for the reviewer and, without a changelog, for people
	// Packages are those that it may be a version of; none: any. Whoever lets
	// others submit for one package only names it here.
	Packages []string
}

// An UploadFile is one file of an upload: the bytes of Content, or, where that
// is nil, the blob named Digest.
type UploadFile struct {
	Name    string // for messages
	Digest  mios.Digest
	Content io.Reader
}

// A File is one package of a submission, kept as a blob.
type File struct {
	Split  string      `json:"split,omitempty"` // its name; "" is the base
	SHA256 mios.Digest `json:"sha256"`
	Size   int64       `json:"size"` // in bytes
	// What a split is for; all empty means all devices.
	ABI     string `json:"abi,omitempty"`
	Locale  string `json:"locale,omitempty"`
	Density string `json:"density,omitempty"`
}

// A Verdict is what a reviewer decided.
type Verdict struct {
	Approved bool      `json:"approved"`
	By       string    `json:"by"`
	At       time.Time `json:"at"`
	Why      string    `json:"why,omitempty"`
}

// A Release is a submission on a track.
type Release struct {
	Package     string    `json:"package"`
	Number      int64     `json:"number"` // within the package: a higher one supersedes
	Submission  string    `json:"submission"`
	VersionCode int64     `json:"version_code"`
	VersionName string    `json:"version_name"`
	Track       string    `json:"track"`
	Share       api.Share `json:"share"` // of 10,000 devices
	Regions     []string  `json:"regions,omitempty"`
	Classes     []string  `json:"classes,omitempty"`
	Halted      bool      `json:"halted,omitempty"`
	Withdrawn   bool      `json:"withdrawn,omitempty"`
	Rollback    bool      `json:"rollback,omitempty"` // an earlier version again
	By          string    `json:"by"`
	At          time.Time `json:"at"`
	Schedule    *Schedule `json:"schedule,omitempty"`
}

// A Schedule lets a release's share grow by itself.
type Schedule struct {
	Steps []api.Share `json:"steps"` // rising
	Every Seconds     `json:"every"` // between two steps
	Next  time.Time   `json:"next"`  // when the next step is due
}

// Seconds is a duration in seconds.
type Seconds int64

// Duration returns it as a [time.Duration].
func (s Seconds) Duration() time.Duration { return time.Duration(s) * time.Second }

// ReleaseOptions say where a submission is released and to whom.
type ReleaseOptions struct {
	Track   string        // "": production
	Share   api.Share     // 0: the first of DefaultSteps on production, everyone elsewhere
	Regions []string      // ISO 3166; none: everywhere
	Classes []string      // of devices; none: all
	Steps   []api.Share   // with Every: the shares to come; none: DefaultSteps
	Every   time.Duration // 0: the share grows only when told
	Why     string
}

// A ClaimState says whether devices know who owns a package.
type ClaimState string

// The states of a claim.
const (
	Unclaimed      ClaimState = ""          // nothing of the package is approved
	ClaimWaits     ClaimState = "waiting"   // for signatures of the claims role
	ClaimPublished ClaimState = "published" // devices take its releases
)

// An App is what the store knows of a package.
type App struct {
	Package    string        `json:"package"`
	Label      string        `json:"label"`
	Developers []string      `json:"developers"` // who may submit
	Claim      ClaimState    `json:"claim"`
	Owner      []mios.Digest `json:"owner"`   // certificates that the claim names
	Signers    []mios.Digest `json:"signers"` // of the newest approved version
	Releases   []Release     `json:"releases"`
	Added      time.Time     `json:"added"`             // when its first version was approved
	Base       int64         `json:"base,omitempty"`    // number of the newest release that the repository had before
	Project    *Project      `json:"project,omitempty"` // nil: nothing is known of it
	// Pending tells that devices do not see the newest state yet.
	Pending bool `json:"pending,omitempty"`
}
