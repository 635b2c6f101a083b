package check_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"image/png"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"mios"
	"mios/format/apksig"
	"mios/internal/conformance"
	"mios/internal/readat"
	"mios/publish/app/apptest"
	"mios/publish/app/check"
	"mios/publish/app/google"
	"mios/publish/app/report"
)

func pack(name string, b []byte) report.Package {
	return report.Package{ReaderAt: bytes.NewReader(b), Name: name, Size: int64(len(b))}
}

func ids(list []check.Finding) []string {
	var out []string
	for _, f := range list {
		out = append(out, f.ID)
	}
	return out
}

func TestInspect(t *testing.T) {
	ada, bob := apptest.Signer(t), apptest.Signer(t)
	by := func(s ...apksig.Signer) []apksig.Signer { return s }
	base := apptest.APK{Signers: by(ada)}.Build(t)
	facts, err := check.Inspect(t.Context(), []report.Package{pack("base.apk", base)})
	if err != nil {
		t.Fatal(err)
	}
	if facts.App.Label != "Clock" || facts.Size != int64(len(base)) || !facts.Files[0].Signature.Verified || facts.OldPlatforms != nil ||
		!slices.Equal(facts.Signers, []mios.Digest{mios.Sum(ada.Certificate)}) || facts.Google.Verdict != google.Works || facts.Icon != nil {
		t.Errorf("facts %+v", facts)
	}
	if err := facts.Valid(1); err != nil {
		t.Error(err)
	}
	b, err := json.Marshal(facts)
	if err != nil {
		t.Fatal(err)
	}
	again := new(check.Facts)
	if err := json.Unmarshal(b, again); err != nil || !reflect.DeepEqual(ids(check.Judge(again, again, check.DefaultPolicy())), ids(check.Judge(facts, facts, check.DefaultPolicy()))) {
		t.Errorf("facts are judged otherwise when they come back from JSON: %v", err)
	}

	rotated := apptest.APK{VersionCode: 2, Signers: by(ada, bob), Lineage: apptest.Lineage(t, ada, bob)}.Build(t)
	if facts, err = check.Inspect(t.Context(), []report.Package{pack("base.apk", rotated)}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(facts.Signers, []mios.Digest{mios.Sum(bob.Certificate)}) || !slices.Equal(facts.Lineage, []mios.Digest{mios.Sum(ada.Certificate)}) {
		t.Errorf("signers %v, lineage %v", facts.Signers, facts.Lineage)
	}
	if got := ids(check.Judge(facts, again, check.DefaultPolicy())); !slices.Equal(got, []string{"icon", "rotation"}) {
		t.Errorf("a rotated key: findings %v", got)
	}
	unsigned := apptest.APK{}.Build(t)
	if facts, err = check.Inspect(t.Context(), []report.Package{pack("base.apk", unsigned)}); err != nil || len(facts.Signers) != 0 {
		t.Fatalf("no signature: %v, %+v", err, facts)
	}
	if got := check.Judge(facts, nil, check.DefaultPolicy()); len(got) == 0 || got[0].ID != "signature" || got[0].Severity != check.Refuse {
		t.Errorf("no signature: %+v", got)
	}
	changed := slices.Clone(base)
	changed[len(changed)/3] ^= 1
	if facts, err = check.Inspect(t.Context(), []report.Package{pack("base.apk", changed)}); err == nil && len(facts.Signers) > 0 {
		t.Errorf("a changed byte: signers %v", facts.Signers)
	}
}

func TestInspectSet(t *testing.T) {
	ada, bob := apptest.Signer(t), apptest.Signer(t)
	base := pack("base.apk", apptest.APK{Signers: []apksig.Signer{ada}}.Build(t))
	split := func(name string, version int, s apksig.Signer) report.Package {
		return pack(name+".apk", apptest.APK{Split: name, VersionCode: version, Signers: []apksig.Signer{s}, Files: map[string]string{"lib/x86_64/liba.so": "x"}}.Build(t))
	}
	facts, err := check.Inspect(t.Context(), []report.Package{split("config.x86_64", 1, ada), base})
	if err != nil {
		t.Fatal(err)
	}
	if len(facts.Set) != 0 || len(facts.Splits) != 1 || facts.Files[0].Name != "base.apk" || facts.Files[1].Split != "config.x86_64" ||
		len(facts.App.Splits) != 1 || !facts.App.Splits[0].SameSigner || !slices.Equal(facts.ABIs(), []string{"x86_64"}) {
		t.Errorf("facts %+v", facts)
	}
	if err := facts.Valid(2); err != nil {
		t.Error(err)
	}
	for name, other := range map[string]report.Package{
		"another signer": split("config.x86_64", 1, bob), "another version": split("config.x86_64", 2, ada),
	} {
		facts, err := check.Inspect(t.Context(), []report.Package{base, other})
		if err != nil {
			t.Fatal(err)
		}
		if got := check.Judge(facts, nil, check.DefaultPolicy()); len(got) == 0 || got[0].ID != "set" || got[0].Severity != check.Refuse {
			t.Errorf("%s: %+v", name, got)
		}
	}
	for want, list := range map[string][]report.Package{
		"no base package is with it": {split("config.x86_64", 1, ada)},
		"are both base packages":     {base, base},
		"want 1 to 512":              nil,
		"x.apk: apk: offset":         {base, pack("x.apk", []byte("PK"))},
	} {
		if _, err := check.Inspect(t.Context(), list); !errors.Is(err, mios.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// TestReal looks at real apps, built for debugging, as their developers do.
func TestReal(t *testing.T) {
	dir := conformance.Dir(t, "apps")
	tally := conformance.New(t, "real apps checked")
	for name, want := range map[string][]string{
		"ApiDemos-debug.apk":     {"debug-key", "debuggable"},
		"settings_apk-debug.apk": {"debug-key", "debuggable", "sensitive", "google"},
	} {
		f, size, err := readat.Open(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		facts, err := check.Inspect(t.Context(), []report.Package{{ReaderAt: f, Name: name, Size: size}})
		if err != nil {
			t.Fatal(err)
		}
		if err := facts.Valid(1); err != nil {
			t.Error(err)
		}
		img, err := png.Decode(bytes.NewReader(facts.Icon))
		if err != nil || img.Bounds().Dx() != check.IconSize || img.Bounds().Dy() != check.IconSize {
			t.Errorf("%s: icon: %v, %v", name, err, facts.IconMissing)
		}
		got := ids(check.Judge(facts, nil, check.DefaultPolicy()))
		ok := true
		for _, id := range want {
			ok = ok && slices.Contains(got, id)
		}
		if tally.Case(ok); !ok {
			t.Errorf("%s: findings %v, want %v among them", name, got, want)
		}
		if again := ids(check.Judge(facts, facts, check.DefaultPolicy())); !slices.Contains(again, "version-code") || slices.Contains(again, "permission-added") {
			t.Errorf("%s against itself: findings %v", name, again)
		}
	}
}
