package repo

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"mios"
	"mios/api"
)

// rel is release n, with version code n and an APK of its own.
func rel(n int64, change ...func(r *AppRelease)) AppRelease {
	r := AppRelease{
		Release: n, Package: "org.example.app", VersionCode: n, VersionName: fmt.Sprint("v", n), MinSDK: 21, Share: Everyone,
		Tracks: []string{TrackProduction}, Signers: []mios.Digest{{1}},
		Target: Target{Path: AppPath("org.example.app", n), Length: 1000, SHA256: mios.Digest{byte(n)}},
	}
	for _, c := range change {
		c(&r)
	}
	return r
}

func on(tracks ...string) func(r *AppRelease) { return func(r *AppRelease) { r.Tracks = tracks } }

var (
	halted    = func(r *AppRelease) { r.Halted = true }
	withdrawn = func(r *AppRelease) { r.Withdrawn = true }
)

// again is an older version as a release of its own.
func again(code int64) func(r *AppRelease) {
	return func(r *AppRelease) {
		r.Rollback, r.VersionCode, r.Target.SHA256 = true, code, mios.Digest{byte(code)}
		r.Target.Path = AppPath(r.Package, code)
	}
}

func code(code int64) func(r *AppRelease) {
	return func(r *AppRelease) { r.VersionCode, r.Target.Path = code, AppPath(r.Package, code) }
}

func TestOffer(t *testing.T) {
	phone := AppDevice{ID: "a", SDK: 34, ABIs: []string{"arm64-v8a", "armeabi-v7a"}, Class: "phone", Place: api.Place{Region: "DE"}, Features: []string{"f"}}
	follows := func(track string) AppDevice { d := phone; d.Track = track; return d }
	has := func(n int64) AppInstalled {
		return AppInstalled{Release: n, VersionCode: n, SHA256: mios.Digest{byte(n)}}
	}
	none := AppInstalled{}
	for _, tt := range []struct {
		name string
		list []AppRelease // the highest first
		d    AppDevice
		has  AppInstalled
		want int64  // the release; 0 for none
		why  string // in the error
	}{
		{"the highest", []AppRelease{rel(3), rel(2)}, phone, none, 3, ""},
		{"an update", []AppRelease{rel(3), rel(2)}, phone, has(2), 3, ""},
		{"up to date", []AppRelease{rel(3), rel(2)}, phone, has(3), 0, "no newer release than version 3"},
		{"up to date, told by the APK alone", []AppRelease{rel(3)}, phone, AppInstalled{VersionCode: 3, SHA256: mios.Digest{3}}, 0, "no newer release"},
		{"from elsewhere, older", []AppRelease{rel(3)}, phone, AppInstalled{VersionCode: 2, SHA256: mios.Digest{99}}, 3, ""},
		{"from elsewhere, newer", []AppRelease{rel(3)}, phone, AppInstalled{VersionCode: 9, SHA256: mios.Digest{99}}, 0, "has version code 3, and 9 is installed"},

		{"production sees no beta", []AppRelease{rel(3, on(TrackBeta)), rel(2)}, phone, none, 2, ""},
		{"production says so", []AppRelease{rel(3, on(TrackBeta)), rel(2)}, phone, has(2), 0, "is in track beta, and this device follows production"},
		{"beta sees beta", []AppRelease{rel(4, on(TrackInternal)), rel(3, on(TrackBeta)), rel(2)}, follows(TrackBeta), none, 3, ""},
		{"beta sees production", []AppRelease{rel(4), rel(3, on(TrackBeta))}, follows(TrackBeta), has(3), 4, ""},
		{"internal sees all", []AppRelease{rel(4, on(TrackInternal)), rel(3)}, follows(TrackInternal), none, 4, ""},
		{"no such track", []AppRelease{rel(4, on(TrackInternal)), rel(3)}, follows("nightly"), none, 0, "follows nightly"},

		{"halted", []AppRelease{rel(3, halted), rel(2)}, phone, has(2), 0, "is halted"},
		{"halted, and installed", []AppRelease{rel(3, halted), rel(2)}, phone, has(3), 0, "no newer release"},
		{"withdrawn, not installed", []AppRelease{rel(3, withdrawn), rel(2)}, phone, none, 2, ""},
		{"withdrawn, and installed", []AppRelease{rel(3, withdrawn), rel(2), rel(1)}, phone, has(3), 2, ""},
		{"withdrawn, with a newer one", []AppRelease{rel(4), rel(3, withdrawn), rel(2)}, phone, has(3), 4, ""},
		{"all withdrawn", []AppRelease{rel(3, withdrawn), rel(2, withdrawn)}, phone, has(3), 0, "version 3 was withdrawn, and no other release"},
		{"withdrawn, the next one halted", []AppRelease{rel(4, halted), rel(3, withdrawn), rel(2)}, phone, has(3), 2, ""},

		{"rolled back", []AppRelease{rel(5, again(3)), rel(4), rel(3)}, phone, has(4), 5, ""},
		{"rolled back, and there already", []AppRelease{rel(5, again(3)), rel(4), rel(3)}, phone, AppInstalled{Release: 5, VersionCode: 3, SHA256: mios.Digest{3}}, 0, "no newer release"},
		{"rolled back to what is installed", []AppRelease{rel(5, again(3)), rel(4), rel(3)}, phone, has(3), 0, "no newer release"},
		{"after a roll back", []AppRelease{rel(6, code(5)), rel(5, again(3)), rel(4)}, phone, AppInstalled{Release: 5, VersionCode: 3, SHA256: mios.Digest{3}}, 6, ""},
		{"a lower version code without a roll back", []AppRelease{rel(5, code(3)), rel(4)}, phone, has(4), 0, "has version code 3, and 4 is installed"},

		{"region", []AppRelease{rel(3, func(r *AppRelease) { r.Regions = []string{"FR"} })}, phone, none, 0, "is for FR, and this device is in DE"},
		{"class", []AppRelease{rel(3, func(r *AppRelease) { r.Classes = []string{"watch", "car"} })}, phone, none, 0, `is for watch, car, and this device is of class "phone"`},
		{"too old", []AppRelease{rel(3, func(r *AppRelease) { r.MinSDK = 35 }), rel(2)}, phone, none, 2, ""},
		{"too old, says so", []AppRelease{rel(3, func(r *AppRelease) { r.MinSDK = 35 })}, phone, none, 0, "wants SDK version 35, and this device has 34"},
		{"too new", []AppRelease{rel(3, func(r *AppRelease) { r.MaxSDK = 33 })}, phone, none, 0, "up to 33"},
		{"second ABI", []AppRelease{rel(3, func(r *AppRelease) { r.ABIs = []string{"armeabi-v7a"} })}, phone, none, 3, ""},
		{"no ABI", []AppRelease{rel(3, func(r *AppRelease) { r.ABIs = []string{"x86_64"} })}, phone, none, 0, "has native code for x86_64"},
		{"feature", []AppRelease{rel(3, func(r *AppRelease) { r.Features = []string{"f"} })}, phone, none, 3, ""},
		{"no feature", []AppRelease{rel(3, func(r *AppRelease) { r.Features = []string{"f", "g"} })}, phone, none, 0, "wants the feature g"},
		{"nobody's turn", []AppRelease{rel(3, func(r *AppRelease) { r.Share, r.Salt = 0, "s" })}, phone, none, 0, "turn has not come"},
	} {
		r, err := offer("org.example.app", tt.list, &tt.d, tt.has)
		switch {
		case tt.want == 0:
			if !errors.Is(err, mios.ErrNotFound) || !strings.Contains(err.Error(), tt.why) {
				t.Errorf("%s: offer = %v, %v; want not found with %q", tt.name, r, err, tt.why)
			}
		case err != nil || r.Release != tt.want:
			t.Errorf("%s: offer = %v, %v; want release %d", tt.name, r, err, tt.want)
		}
	}
}

// TestShareGrows: a device that has its turn keeps it, and each salt picks others.
func TestShareGrows(t *testing.T) {
	counts, both := map[Share]int{}, 0
	for i := range 4000 {
		d := AppDevice{ID: fmt.Sprint("device", i), SDK: 34}
		was := false
		for _, share := range []Share{100, 500, 2000, Everyone} {
			r := rel(1, func(r *AppRelease) { r.Share, r.Salt = share, "salt" })
			is := r.NotFor(&d) == ""
			if was && !is {
				t.Fatalf("%s was among fewer devices, and is not at %s", d.ID, share)
			}
			if is {
				counts[share]++
			}
			was = is
		}
		one := rel(1, func(r *AppRelease) { r.Share, r.Salt = 2000, "salt" })
		two := rel(1, func(r *AppRelease) { r.Share, r.Salt = 2000, "other" })
		if one.NotFor(&d) == "" && two.NotFor(&d) == "" {
			both++
		}
	}
	if counts[100] < 15 || counts[100] > 80 || counts[2000] < 700 || counts[2000] > 900 || counts[Everyone] != 4000 || both < 100 || both > 220 {
		t.Errorf("of 4000 devices: %v; %d in both of two releases at 20 %%", counts, both)
	}
}

func TestOwns(t *testing.T) {
	a, b, c := mios.Digest{1}, mios.Digest{2}, mios.Digest{3}
	list := func(d ...mios.Digest) []mios.Digest { return d }
	for _, tt := range []struct {
		claim, signers, lineage []mios.Digest
		want                    bool
	}{
		{list(a), list(a), nil, true},
		{list(a), list(b), nil, false},
		{list(a), list(b), list(a), true},
		{list(a), list(c), list(a, b), true},
		{list(b), list(c), list(a, b), true},
		{list(a), list(c), list(b), false},
		{list(c), list(c), list(a, b), true},
		{list(a, b), list(a, b), nil, true},
		{list(a), list(a, b), nil, false},
		{list(a), list(b, c), list(a), false}, // a rotation has one signer
		{list(a), nil, nil, false},
		{list(a), nil, list(a), false},
		{nil, list(a), nil, false},
	} {
		r := AppRelease{Signers: tt.signers, Lineage: tt.lineage}
		if got := (&Claim{Signers: tt.claim}).Owns(&r); got != tt.want {
			t.Errorf("claim %v of signers %v with lineage %v: Owns = %v, want %v", tt.claim, tt.signers, tt.lineage, got, tt.want)
		}
	}
}

func TestAppReleaseCheck(t *testing.T) {
	if r := rel(1); r.Check() != nil {
		t.Fatal(r.Check())
	}
	good := func(r *AppRelease) {
		r.Splits = []Split{{Name: "config.de", Target: Target{Path: SplitPath(r.Package, 1, "config.de"), Length: 1}}}
		r.Deltas = []AppDelta{{From: mios.Digest{9}, Target: Target{Path: DeltaPath(r.Package, 1, mios.Digest{9}), Length: 999}}}
		r.Regions, r.Classes, r.Features = []string{"DE"}, []string{"watch"}, []string{"android.hardware.nfc"}
		r.Share, r.Salt = 1, "s"
	}
	if r := rel(1, good); r.Check() != nil {
		t.Fatal(r.Check())
	}
	for name, bad := range map[string]func(r *AppRelease){
		"release":       func(r *AppRelease) { r.Release = 0 },
		"path":          func(r *AppRelease) { r.Target.Path = "apps/org.example.bank_1.apk" },
		"path up":       func(r *AppRelease) { r.Target.Path = "../x.apk" },
		"length":        func(r *AppRelease) { r.Target.Length = 0 },
		"signer":        func(r *AppRelease) { r.Signers = nil },
		"share":         func(r *AppRelease) { r.Share = 10001 },
		"salt":          func(r *AppRelease) { r.Salt = "" },
		"sdk":           func(r *AppRelease) { r.MaxSDK = 20 },
		"no track":      func(r *AppRelease) { r.Tracks = nil },
		"track":         func(r *AppRelease) { r.Tracks = []string{"alpha"} },
		"region":        func(r *AppRelease) { r.Regions = []string{"Germany"} },
		"class":         func(r *AppRelease) { r.Classes = []string{"fridge"} },
		"feature":       func(r *AppRelease) { r.Features = []string{"a b"} },
		"split name":    func(r *AppRelease) { r.Splits[0].Name = "../x" },
		"split twice":   func(r *AppRelease) { r.Splits = append(r.Splits, r.Splits[0]) },
		"split path":    func(r *AppRelease) { r.Splits[0].Target.Path = "apps/other_1_config.de.apk" },
		"delta path":    func(r *AppRelease) { r.Deltas[0].From = mios.Digest{8} },
		"delta size":    func(r *AppRelease) { r.Deltas[0].Target.Length = 1000 },
		"delta twice":   func(r *AppRelease) { r.Deltas = append(r.Deltas, r.Deltas[0]) },
		"many deltas":   func(r *AppRelease) { r.Deltas = make([]AppDelta, MaxAppDeltas+1) },
		"package":       func(r *AppRelease) { r.Package = "app" },
		"version code":  func(r *AppRelease) { r.VersionCode = 0 },
		"negative size": func(r *AppRelease) { r.Splits[0].Target.Length = -1 },
	} {
		r := rel(1, good, bad)
		if err := r.Check(); !errors.Is(err, mios.ErrInvalid) {
			t.Errorf("%s: Check = %v, want %v", name, err, mios.ErrInvalid)
		}
	}
}
