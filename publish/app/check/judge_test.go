package check

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"mios"
	"mios/format/apk"
	"mios/publish/app/google"
	"mios/publish/app/report"
)

// good are facts of which there is nothing to say.
func good() *Facts {
	signer := report.Signer{Certificate: report.Certificate{Digest: mios.Sum([]byte("ada")).String(), Subject: "CN=Ada", Key: "ecdsa-p256"}, Current: true}
	sig := &report.Signature{Verified: true, Schemes: []string{"v2", "v3"}, Signers: []report.Signer{signer}}
	return &Facts{
		App: &report.App{
			Package: "org.example.clock", VersionCode: 2, Label: "Clock", MinSDK: 28, TargetSDK: 35, Signature: sig, Size: 1000,
			ABIs: []string{"arm64-v8a", "x86_64"}, PageSize: report.PageSize{OK: true},
			Parts: []report.Part{{Name: "code", Size: 800}, {Name: "packing", Size: 200}},
		},
		Files:   []File{{Name: "clock.apk", Size: 1000, Signature: sig}},
		Size:    1000,
		Signers: []mios.Digest{mios.Sum([]byte("ada"))},
		Google:  &google.Report{Verdict: google.Works},
		Icon:    []byte("png"),
	}
}

// older are the facts of the version before.
func older() *Facts {
	f := good()
	f.App.VersionCode = 1
	return f
}

// platformKey is the SHA-256 of AOSP's public test key "platform", in DER.
const platformKey = "3d3df7dc9bf26e02d4cd76256d41d45e41a4dedebe7feb95c40e3697681be8a7"

const camera = "android.permission.CAMERA"

func permission(name string) report.Permission {
	p := report.Permission{Name: name, Group: report.GroupInstall}
	if name == camera {
		p.Group, p.About = report.GroupPerson, "camera"
	}
	return p
}

func TestJudge(t *testing.T) {
	open := report.Component{Kind: apk.KindActivity, Name: "org.example.Share", Exported: true, Actions: []string{"SEND"}}
	guarded := open
	guarded.Permission = "org.example.GUARD"
	provider := report.Component{Kind: apk.KindProvider, Name: "org.example.Files", Exported: true}
	reader := report.Component{Kind: apk.KindService, Name: "org.example.Eye", Exported: true, Permission: "android.permission.BIND_ACCESSIBILITY_SERVICE"}
	bob := mios.Sum([]byte("bob"))
	maps1 := google.Service{ID: "maps", Name: "Maps", Level: google.Called, Verdict: google.Partly, Says: "Maps stay empty.",
		Evidence: []google.Evidence{{What: "MapView.onCreate", Where: "org.example.Main.onCreate"}}}
	licence := google.Service{ID: "licensing", Name: "Licence", Level: google.Called, Verdict: google.Fails, Says: "It ends."}
	for _, tt := range []struct {
		name   string
		change func(now, before *Facts)
		want   string // "severity id subject", comma between; with a version before
		first  string // the same of a first version; "=": the same
	}{
		{"nothing", func(now, before *Facts) {}, "", "="},
		{"signature", func(now, _ *Facts) {
			now.Files[0].Signature = &report.Signature{Errors: []report.Issue{{Name: "V2_SIG_DID_NOT_VERIFY"}}}
		}, "refuse signature clock.apk", "="},
		{"old platforms", func(now, _ *Facts) { now.OldPlatforms = &report.Signature{} }, "refuse signature-old clock.apk", "="},
		{"others on old platforms", func(now, _ *Facts) {
			now.OldPlatforms = &report.Signature{Verified: true, Signers: []report.Signer{{Certificate: report.Certificate{Digest: bob.String()}, Current: true}}}
		}, "refuse signature-old clock.apk", "="},
		{"the first key on old platforms", func(now, before *Facts) {
			now.OldPlatforms = &report.Signature{Verified: true, Signers: []report.Signer{{Certificate: report.Certificate{Digest: bob.String()}, Current: true}}}
			now.Lineage, before.Lineage = []mios.Digest{bob}, []mios.Digest{bob}
		}, "", "="},
		{"v1 alone", func(now, _ *Facts) { now.Files[0].Signature.Schemes = []string{"v1"} }, "warn signature-v1 clock.apk", "="},
		{"debug key", func(now, _ *Facts) { now.Files[0].Signature.Signers[0].Subject = "C=US, O=Android, CN=Android Debug" },
			"refuse debug-key C=US, O=Android, CN=Android Debug", "="},
		{"test key", func(now, _ *Facts) { now.Files[0].Signature.Signers[0].KeyDigest = platformKey }, "refuse test-key CN=Ada", "="},
		{"weak key", func(now, _ *Facts) { now.Files[0].Signature.Signers[0].Key = "rsa1024" }, "warn weak-key CN=Ada", "="},
		{"set", func(now, _ *Facts) { now.Set = []string{"a split is missing"} }, "refuse set ", "="},
		{"code", func(now, _ *Facts) { now.Code, now.Google = "classes.dex: dex: offset 0x0: x", nil }, "refuse code ", "="},
		{"target", func(now, before *Facts) { now.App.TargetSDK, before.App.TargetSDK = 30, 30 }, "refuse target-sdk 30", "="},
		{"target lowered", func(now, _ *Facts) { now.App.TargetSDK = 34 }, "warn target-sdk-lowered 34", ""},
		{"least raised", func(now, _ *Facts) { now.App.MinSDK = 30 }, "note min-sdk-raised 30", ""},
		{"debuggable", func(now, _ *Facts) { now.App.Debuggable, now.App.TestOnly = true, true }, "refuse debuggable ,refuse test-only ", "="},
		{"another package", func(now, _ *Facts) { now.App.Package = "org.example.alarm" }, "refuse package org.example.alarm", ""},
		{"version", func(now, _ *Facts) { now.App.VersionCode = 1 }, "refuse version-code 1", ""},
		{"another signer", func(now, _ *Facts) { now.Signers = []mios.Digest{bob} }, "refuse signer " + short(bob), ""},
		{"named successor", func(now, before *Facts) { now.Signers, now.Lineage = []mios.Digest{bob}, before.Signers }, "note rotation " + short(bob), ""},
		{"not signed at all before", func(_, before *Facts) { before.Signers = nil }, "", ""},
		{"permission", func(now, _ *Facts) { now.App.Permissions = []report.Permission{permission(camera), permission("a.b")} },
			"warn permission-added " + camera + ",note permission a.b", "note permission " + camera},
		{"permission kept", func(now, before *Facts) {
			now.App.Permissions = []report.Permission{permission(camera)}
			before.App.Permissions = now.App.Permissions
		}, "", "note permission " + camera},
		{"permission wider", func(now, before *Facts) {
			now.App.Permissions = []report.Permission{permission(camera)}
			old := permission(camera)
			old.MaxSDK = 28
			before.App.Permissions = []report.Permission{old}
		}, "warn permission-added " + camera, "note permission " + camera},
		{"permission of a split", func(now, _ *Facts) {
			now.Splits = []*report.App{{Split: "f", Permissions: []report.Permission{permission(camera)}}}
		}, "warn permission-added " + camera, "note permission " + camera},
		{"sensitive", func(now, _ *Facts) {
			now.App.Permissions = []report.Permission{permission("android.permission.QUERY_ALL_PACKAGES")}
		},
			"warn permission-added android.permission.QUERY_ALL_PACKAGES", "warn sensitive android.permission.QUERY_ALL_PACKAGES"},
		{"exported", func(now, _ *Facts) { now.App.Components = []report.Component{open} }, "warn exported-added org.example.Share", "note exported "},
		{"exported and guarded", func(now, _ *Facts) { now.App.Components = []report.Component{guarded} }, "note exported org.example.Share", "note exported "},
		{"no longer guarded", func(now, before *Facts) {
			now.App.Components, before.App.Components = []report.Component{open}, []report.Component{guarded}
		}, "warn exported-added org.example.Share", "note exported "},
		{"exported before", func(now, before *Facts) {
			now.App.Components = []report.Component{open}
			before.App.Components = now.App.Components
		}, "", "note exported "},
		{"provider", func(now, _ *Facts) { now.App.Components = []report.Component{provider} },
			"warn exported-added org.example.Files,warn provider-open org.example.Files", "warn provider-open org.example.Files,note exported "},
		{"eye", func(now, _ *Facts) { now.App.Components = []report.Component{reader} },
			"warn sensitive org.example.Eye,note exported org.example.Eye", "warn sensitive org.example.Eye,note exported "},
		{"eye before", func(now, before *Facts) {
			now.App.Components = []report.Component{reader}
			before.App.Components = now.App.Components
		}, "", "warn sensitive org.example.Eye,note exported "},
		{"ABI lost", func(now, _ *Facts) { now.App.ABIs = []string{"arm64-v8a"} }, "warn abi-lost x86_64", ""},
		{"ABI in a split", func(now, _ *Facts) {
			now.App.ABIs = []string{"arm64-v8a"}
			now.Splits = []*report.App{{Split: "x", ABIs: []string{"x86_64"}}}
		}, "", "="},
		{"native now", func(_, before *Facts) { before.App.ABIs = nil }, "warn abi-lost arm64-v8a x86_64", ""},
		{"32 bit", func(now, before *Facts) {
			now.App.ABIs = []string{"armeabi-v7a"}
			before.App.ABIs = now.App.ABIs
		}, "warn abi-32 armeabi-v7a", "="},
		{"pages", func(now, _ *Facts) { now.App.PageSize.Problems = []string{"lib/x.so: y"} }, "warn page-size ", "="},
		{"size", func(now, before *Facts) { now.Size, before.Size = 5<<30, 5<<30 }, "refuse size ", "="},
		{"growth", func(now, _ *Facts) { now.Size, now.App.Parts = 1501, []report.Part{{Name: "code", Size: 1301}} }, "warn growth ", ""},
		{"growth allowed", func(now, _ *Facts) { now.Size = 1500 }, "", "="},
		{"google", func(now, _ *Facts) {
			now.Google = &google.Report{Verdict: google.Partly, Services: []google.Service{maps1}}
		},
			"warn google-added works in part,note google maps", "note google maps"},
		{"google fails", func(now, before *Facts) {
			now.Google = &google.Report{Verdict: google.Fails, Services: []google.Service{licence, maps1}}
			before.Google = now.Google
		}, "warn google-fails licensing,note google maps", "="},
		{"no name", func(now, _ *Facts) { now.App.Label, now.Icon = "", nil }, "warn icon ,warn label ", "="},
		{"icon in part", func(now, _ *Facts) { now.IconMissing = []string{"a shadow"} }, "note icon-missing ", "="},
		{"no icon drawn", func(now, _ *Facts) { now.Icon, now.IconMissing = nil, []string{"all of it"} }, "warn icon ", "="},
		{"feature", func(now, _ *Facts) { now.App.Features = []report.Feature{{Name: "nfc", Required: true}, {Name: "gps"}} }, "note feature-added nfc", ""},
	} {
		now, before := good(), older()
		tt.change(now, before)
		if tt.first == "=" {
			tt.first = tt.want
		}
		for _, c := range []struct {
			before *Facts
			want   string
		}{{before, tt.want}, {nil, tt.first}} {
			var got []string
			for _, f := range Judge(now, c.before, DefaultPolicy()) {
				got = append(got, fmt.Sprintf("%s %s %s", f.Severity, f.ID, f.Subject))
				if f.Detail == "" || !strings.HasSuffix(f.Detail, ".") || f.Advice != "" && !strings.HasSuffix(f.Advice, ".") {
					t.Errorf("%s: %+v is not in sentences", tt.name, f)
				}
				seen[f.ID] = true
			}
			if s := strings.Join(got, ","); s != c.want {
				t.Errorf("%s (with a version before: %v): %q, want %q", tt.name, c.before != nil, s, c.want)
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(Rules)) {
		if !seen[id] {
			t.Errorf("no case is of the rule %s", id)
		}
	}
}

var seen = make(map[string]bool)

func TestWorst(t *testing.T) {
	for want, list := range map[Severity][]Severity{Off: nil, Note: {Note, Note}, Warn: {Note, Warn}, Refuse: {Warn, Refuse, Note}} {
		var findings []Finding
		for _, s := range list {
			findings = append(findings, Finding{Severity: s})
		}
		if got := Worst(findings); got != want {
			t.Errorf("Worst(%v) = %v, want %v", list, got, want)
		}
	}
}

func TestPolicy(t *testing.T) {
	p, err := ParsePolicy([]byte("# a comment\ntarget_sdk: 0\ngrowth: 3\nsensitive: [a.b]\nseverities:\n  debuggable: off\n  label: refuse\n"))
	if err != nil {
		t.Fatal(err)
	}
	if p.TargetSDK != 0 || p.Growth != 3 || p.MaxSize != DefaultPolicy().MaxSize || !slices.Equal(p.Sensitive, []string{"a.b"}) {
		t.Errorf("%+v", p)
	}
	f := good()
	f.App.Debuggable, f.App.Label, f.App.TargetSDK = true, "", 20
	if got := Judge(f, nil, p); len(got) != 1 || got[0].ID != "label" || got[0].Severity != Refuse {
		t.Errorf("findings %+v, want the name alone, refused", got)
	}
	if p, err := ParsePolicy([]byte(`{"target_sdk": 33}`)); err != nil || p.TargetSDK != 33 {
		t.Errorf("JSON: %+v, %v", p, err)
	}
	if p, err := ParsePolicy(nil); err != nil || p.TargetSDK != DefaultPolicy().TargetSDK {
		t.Errorf("nothing: %+v, %v", p, err)
	}
	for _, in := range []string{"target: 3", "target_sdk: x", "growth: -1", "severities: {none: warn}", "severities: {label: maybe}", "target_sdk: 1\ntarget_sdk: 2"} {
		if _, err := ParsePolicy([]byte(in)); !errors.Is(err, mios.ErrInvalid) {
			t.Errorf("%q: error %v, want invalid", in, err)
		}
	}
}

func FuzzParsePolicy(f *testing.F) {
	f.Add([]byte("target_sdk: 3\nseverities: {label: off}"))
	f.Add([]byte(`{"sensitive": ["a.b"], "growth": 1.5}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		if p, err := ParsePolicy(in); err == nil {
			Judge(good(), older(), p)
		} else if !errors.Is(err, mios.ErrInvalid) {
			t.Errorf("error %v, want invalid", err)
		}
	})
}

// TestValid shows that facts from a process that is not trusted are looked at
// before anything relies on them.
func TestValid(t *testing.T) {
	whole := func() *Facts {
		f := good()
		f.Icon = nil
		return f
	}
	if err := whole().Valid(1); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Facts){
		"no app":       func(f *Facts) { f.App = nil },
		"no package":   func(f *Facts) { f.App.Package = "" },
		"no signature": func(f *Facts) { f.App.Signature = nil },
		"two files":    func(f *Facts) { f.Files = append(f.Files, f.Files[0]) },
		"nil split":    func(f *Facts) { f.Splits = []*report.App{nil} },
		"file":         func(f *Facts) { f.Files[0].Signature = nil },
		"split first":  func(f *Facts) { f.Files[0].Split = "x" },
		"signers":      func(f *Facts) { f.Signers = nil },
		"not verified": func(f *Facts) { f.App.Signature = &report.Signature{} },
		"no report":    func(f *Facts) { f.Google = nil },
		"icon":         func(f *Facts) { f.Icon = []byte("GIF89a and more that is long enough to be one") },
		"large icon":   func(f *Facts) { f.Icon = make([]byte, 8<<20) },
	} {
		f := whole()
		change(f)
		if err := f.Valid(1); !errors.Is(err, mios.ErrInvalid) {
			t.Errorf("%s: error %v, want invalid", name, err)
		}
	}
}

// FuzzValid: whatever facts are valid can be judged, without a panic.
func FuzzValid(f *testing.F) {
	for _, facts := range []*Facts{good(), older(), {}} {
		facts.Icon = nil
		b, err := json.Marshal(facts)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		facts := new(Facts)
		if json.Unmarshal(in, facts) != nil || facts.Valid(1) != nil {
			return
		}
		Judge(facts, nil, DefaultPolicy())
		Judge(facts, good(), DefaultPolicy())
		Judge(good(), facts, DefaultPolicy())
	})
}

// TestRules holds the documentation against the rules.
func TestRules(t *testing.T) {
	b, err := os.ReadFile("../../../docs/checks.md")
	if err != nil {
		t.Fatal(err)
	}
	for id, severity := range Rules {
		if !strings.Contains(string(b), fmt.Sprintf("| `%s` | %s |", id, severity)) {
			t.Errorf("docs/checks.md has no row of %s, %s", id, severity)
		}
	}
}
