// Package google says which services of Google's an app calls and where, and so
// whether it works without them.
//
// It looks at the code's references, at the manifest, at layouts, resources and
// native libraries. What it looks for is data: markers.yaml, which
// docs/checks.md describes. A library that is in the package and that nothing
// calls is told apart from one that the app's code calls.
package google

import "slices"

// A Verdict says how an app does without Google's services.
type Verdict string

// The verdicts.
const (
	Works  Verdict = "works"
	Partly Verdict = "works in part"
	Fails  Verdict = "does not work"
)

// A Level says how a service is present in an app.
type Level string

// The levels, the weakest first.
const (
	Bundled  Level = "bundled"  // its library is in the package, or something names it, and no code that can run calls it
	Declared Level = "declared" // the manifest or the resources set it up
	Called   Level = "called"   // code, layouts or required libraries of the app use it
)

// A Report says what of Google's an app uses. What only native code, or code
// that is decrypted while it runs, has to do with is not in it.
type Report struct {
	Markers  int       `json:"markers"` // version of the list of markers
	Verdict  Verdict   `json:"verdict"` // the worst of its services
	Services []Service `json:"services"`
	// Asks is where the app asks whether Google's services are there at all: a
	// sign that it is prepared to do without.
	Asks []Evidence `json:"asks,omitempty"`
}

// A Service is one of Google's that an app has to do with.
type Service struct {
	ID       string     `json:"id"`       // "fcm"
	Name     string     `json:"name"`     // for people
	Level    Level      `json:"level"`    // how the app has to do with it
	Verdict  Verdict    `json:"verdict"`  // of the app without it
	Says     string     `json:"says"`     // what happens without it, a sentence
	Instead  string     `json:"instead"`  // what its developer can do
	Evidence []Evidence `json:"evidence"` // the strongest first, at most MaxEvidence of a kind
	Uses     int        `json:"uses"`     // places in code that call it, all of them
}

// Kinds of evidence.
const (
	KindCode      = "code"      // an instruction, a superclass or an interface of a class that can run
	KindUnreached = "unreached" // the same in a class that nothing refers to
	KindAbsent    = "absent"    // the same, or in a layout, of a class that is not in the package: it works nowhere
	KindString    = "string"    // a string in code
	KindLayout    = "layout"    // a class named in an XML resource
	KindManifest  = "manifest"  // a component, permission, query, library or meta-data
	KindResource  = "resource"  // the name of a resource
	KindFile      = "file"      // a file in the package
	KindLibrary   = "library"   // classes of the service's own library
)

// MaxEvidence is how many pieces of evidence of a kind are given.
const MaxEvidence = 8

// Evidence is one place that shows a service.
type Evidence struct {
	Kind  string `json:"kind"`
	What  string `json:"what"`            // what was found: "com.google.android.gms.maps.MapView.onResume"
	Where string `json:"where,omitempty"` // class and method, or element: "org.example.Main.onCreate"
	File  string `json:"file,omitempty"`  // in the package: "classes2.dex"
	Count int    `json:"count"`           // how often there
}

// Worse reports whether v is worse for the app than o.
func (v Verdict) Worse(o Verdict) bool { return v.rank() > o.rank() }

func (v Verdict) rank() int { return slices.Index([]Verdict{Works, Partly, Fails}, v) }

func (l Level) rank() int { return slices.Index([]Level{Bundled, Declared, Called}, l) }
