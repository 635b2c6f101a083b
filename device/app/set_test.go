package app

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"mios"
	"mios/format/apksig"
)

// testLineage is of key 0 and then key 1; the older one may do what caps say.
func testLineage(t *testing.T, caps apksig.Capabilities) *apksig.Lineage {
	t.Helper()
	l, err := apksig.NewLineage(testSigner(t, 0), caps, testSigner(t, 1), apksig.DefaultCapabilities)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// testSet writes APKs, the base first, and promises what they are.
func testSet(t *testing.T, specs ...testSpec) *Set {
	t.Helper()
	set := &Set{Package: testPkg, VersionCode: specs[0].code, Release: specs[0].code, Signers: []mios.Digest{mios.Sum(testSigner(t, specs[0].key).Certificate)}}
	dir := t.TempDir()
	for _, s := range specs {
		b := testPackage(t, s)
		f := File{Split: s.split, Path: filepath.Join(dir, apkFile(s.split)), Size: int64(len(b)), SHA256: sha256.Sum256(b)}
		if err := os.WriteFile(f.Path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		if s.split == "" {
			set.Base = f
		} else {
			set.Splits = append(set.Splits, f)
		}
	}
	return set
}

const abiSplit = "config.x86_64"

// TestInstallSet installs a base and its splits as one.
func TestInstallSet(t *testing.T) {
	wantRoot(t)
	root := t.TempDir()
	m := openTest(t, root, osDisk{})
	set := testSet(t, testSpec{code: 1, bare: true, required: true}, testSpec{code: 1, split: abiSplit}, testSpec{code: 1, split: "config.de", bare: true})
	st, err := m.InstallSet(t.Context(), set)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(st.Splits, []string{abiSplit, "config.de"}) || st.Installer != StoreInstaller || st.Release != 1 || st.ABI != "x86_64" {
		t.Errorf("installed: %+v", st)
	}
	if b, err := os.ReadFile(st.Executable); string(b) != testProgram(1) {
		t.Errorf("the program is %q, %v: want that of the split", b, err)
	}
	names, err := filepath.Glob(filepath.Join(filepath.Dir(st.Path), "*"))
	if err != nil || len(names) != 4 {
		t.Errorf("the version has %q, %v", names, err)
	}
	m = openTest(t, root, osDisk{}) // as after a boot
	if again, err := m.Get(testPkg); err != nil || !slices.Equal(again.Splits, st.Splits) || again.Release != 1 {
		t.Errorf("after a boot: %+v, %v", again, err)
	}
	// What comes as a file is nobody's but the person's who brought it.
	st, err = m.installBytes(t.Context(), testPackage(t, testSpec{code: 2}), InstallOptions{})
	if err != nil || st.Installer != "" || st.Release != 0 || st.Splits != nil {
		t.Errorf("a file over it: %+v, %v", st, err)
	}
	if err := m.Keep(testPkg, 7); err != nil {
		t.Error(err)
	}
	if st, _ = m.Get(testPkg); st.Installer != StoreInstaller || st.Release != 7 {
		t.Errorf("handed over to the store: %+v", st)
	}
	wantRefused(t, m.Keep("no.body", 1), CodeNotInstalled, "")
}

// TestInstallSetRefuses changes one thing of a set after the other.
func TestInstallSetRefuses(t *testing.T) {
	wantRoot(t)
	root := t.TempDir()
	m := openTest(t, root, osDisk{})
	base, split := testSpec{code: 2, bare: true}, testSpec{code: 2, split: abiSplit}
	if _, err := m.InstallSet(t.Context(), testSet(t, base, split)); err != nil {
		t.Fatal(err)
	}
	before := tree(t, root)
	with := func(f func(*Set), specs ...testSpec) func() *Set {
		return func() *Set {
			set := testSet(t, specs...)
			if f != nil {
				f(set)
			}
			return set
		}
	}
	for _, tt := range []struct {
		name       string
		set        func() *Set
		code, text string
	}{
		{"another base than promised", with(func(s *Set) { s.Base.SHA256[0]++ }, base, split), CodeVerification, "SHA-256"},
		{"another version than promised", with(func(s *Set) { s.VersionCode++ }, base, split), CodeVerification, "the repository promised"},
		{"another signer than promised", with(func(s *Set) { s.Signers[0][0]++ }, base, split), CodeVerification, "the repository promised"},
		{"another package than promised", with(func(s *Set) { s.Package = "org.other" }, base, split), CodeVerification, "the repository promised"},
		{"a split of another version", with(nil, base, testSpec{code: 3, split: abiSplit}), CodeVerification, "split " + abiSplit},
		{"a split of another signer", with(nil, base, testSpec{code: 2, split: abiSplit, key: 1}), CodeVerification, "split " + abiSplit},
		{"a split of another package", with(nil, base, testSpec{code: 2, split: abiSplit, pkg: "org.other"}), CodeVerification, "org.other"},
		{"a split of another name", with(func(s *Set) { s.Splits[0].Split = "config.en" }, base, split), CodeVerification, "split config.en"},
		{"a split twice", with(func(s *Set) { s.Splits = append(s.Splits, s.Splits[0]) }, base, split), CodeInvalid, "twice"},
		{"a split with a path", with(func(s *Set) { s.Splits[0].Split = "../x" }, base, split), CodeInvalid, "../x"},
		{"a base in the place of a split", with(func(s *Set) { s.Splits[0] = s.Base; s.Splits[0].Split = "x" }, base, split), CodeVerification, "split x"},
		{"a split in the place of the base", with(func(s *Set) { s.Base = s.Splits[0]; s.Base.Split = ""; s.Splits = nil }, base, split), CodeVerification, abiSplit},
		{"no split, and one is needed", with(nil, testSpec{code: 3, bare: true, required: true}), CodeMissingSplit, "does not run without"},
		{"a program in no split", with(nil, base, testSpec{code: 2, split: "config.de", bare: true}), CodeInvalid, "names the program"},
		{"splits for another processor", with(nil, base, testSpec{code: 2, split: abiSplit, abi: "arm64-v8a"}), CodeNoABI, "this device is x86_64"},
		{"an older version", with(nil, testSpec{code: 1}), CodeDowngrade, "which is newer than 1"},
		{"another signer", with(nil, testSpec{code: 3, key: 1}), CodeIncompatible, "this is a new app to the device"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := m.InstallSet(t.Context(), tt.set())
			wantRefused(t, err, tt.code, tt.text)
			if now := tree(t, root); !slices.Equal(now, before) {
				t.Errorf("there is now\n%q\nwant\n%q", now, before)
			}
		})
	}
	gone := testSet(t, base)
	if err := os.Remove(gone.Base.Path); err != nil {
		t.Fatal(err)
	}
	if _, err := m.InstallSet(t.Context(), gone); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

// tree lists all below a folder.
func tree(t *testing.T, root string) (list []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		list = append(list, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestLower goes down only where the signed word is to.
func TestLower(t *testing.T) {
	wantRoot(t)
	m := openTest(t, t.TempDir(), osDisk{})
	m.cfg.Debuggable = false
	st, err := m.InstallSet(t.Context(), testSet(t, testSpec{code: 5}))
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(st.DataDir, "file")
	if err := os.WriteFile(data, []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	lower := testSet(t, testSpec{code: 4})
	wantRefused(t, m.MayReplace(lower), CodeDowngrade, "")
	_, err = m.InstallSet(t.Context(), lower)
	wantRefused(t, err, CodeDowngrade, "uninstall it first")
	lower.Lower = true
	if err := m.MayReplace(lower); err != nil {
		t.Error(err)
	}
	if st, err = m.InstallSet(t.Context(), lower); err != nil || st.VersionCode != 4 {
		t.Errorf("InstallSet = %+v, %v", st, err)
	}
	if b, err := os.ReadFile(data); string(b) != "kept" {
		t.Errorf("the data is %q, %v", b, err)
	}
}

// TestLineage lets a signer give an app on, and take it back, as far as the
// lineage has it.
func TestLineage(t *testing.T) {
	wantRoot(t)
	old, other := mios.Sum(testSigner(t, 0).Certificate), mios.Sum(testSigner(t, 1).Certificate)
	for _, tt := range []struct {
		name       string
		caps       apksig.Capabilities
		none       bool   // no lineage at all
		text, back string // refusals of the update, and of the way back; "": none
	}{
		{"rotated", apksig.DefaultCapabilities, false, "", "does not let it come back"},
		{"rotated, and may come back", apksig.DefaultCapabilities | apksig.Rollback, false, "", ""},
		{"rotated without the data", apksig.DefaultCapabilities &^ apksig.InstalledData, false, "does not let it take over", ""},
		{"another signer", 0, true, "this is a new app to the device; uninstall it first, with its data, if you trust the new signer", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := openTest(t, t.TempDir(), osDisk{})
			if _, err := m.InstallSet(t.Context(), testSet(t, testSpec{code: 1})); err != nil {
				t.Fatal(err)
			}
			spec := testSpec{code: 2, key: 1, lineage: testLineage(t, tt.caps)}
			if tt.none {
				spec.lineage = nil
			}
			set := testSet(t, spec)
			wantRefused(t, m.MayReplace(set), CodeIncompatible, "new app") // as long as the repository promises no lineage
			if !tt.none {
				set.Lineage = []mios.Digest{old}
				if err := m.MayReplace(set); err != nil {
					t.Errorf("MayReplace with the lineage = %v", err)
				}
			}
			st, err := m.InstallSet(t.Context(), set)
			if tt.text != "" {
				wantRefused(t, err, CodeIncompatible, tt.text)
				return
			}
			if err != nil || !slices.Equal(st.Signers, []mios.Digest{other}) {
				t.Fatalf("InstallSet = %+v, %v", st, err)
			}
			_, err = m.InstallSet(t.Context(), testSet(t, testSpec{code: 3}))
			if tt.back != "" {
				wantRefused(t, err, CodeIncompatible, tt.back)
			} else if err != nil {
				t.Errorf("back to the old signer: %v", err)
			}
		})
	}
}

// TestPowerCutSet cuts the power at each change that updating a set makes.
func TestPowerCutSet(t *testing.T) {
	wantRoot(t)
	one, two := testPackage(t, testSpec{code: 1}), testPackage(t, testSpec{code: 2})
	set := testSet(t, testSpec{code: 2}, testSpec{code: 2, split: abiSplit, program: []byte("in the split")})
	for n := 0; ; n++ {
		c := cutCase{n: n, before: one, after: two, do: func(m *Manager) error {
			st, err := m.InstallSet(t.Context(), set)
			if err == nil && len(st.Splits) != 1 {
				t.Errorf("splits %q", st.Splits)
			}
			return err
		}, prepare: []func(*Manager) error{func(m *Manager) error {
			_, err := m.Install(t.Context(), bytes.NewReader(one), int64(len(one)), InstallOptions{})
			return err
		}}}
		if !c.run(t) {
			if n < 8 {
				t.Errorf("the operation is done after %d changes", n)
			}
			break
		}
	}
	if _, err := os.Stat(set.Base.Path); err != nil {
		t.Errorf("what was fetched is gone: %v", err)
	}
}
