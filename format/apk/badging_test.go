package apk_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mios/format/apk"
	"mios/internal/conformance"
	"mios/internal/tool"
)

// aaptText says of a package what `aapt dump badging` says, line by line.
func aaptText(b *apk.Badging) []string {
	w := new(lines)
	w.pkg(b)
	w.application(b)
	w.features(b)
	w.components(b)
	w.screens(b)
	return *w
}

type lines []string

func (w *lines) add(format string, args ...any) { *w = append(*w, fmt.Sprintf(format, args...)) }

func (w *lines) addIf(ok bool, format string, args ...any) {
	if ok {
		w.add(format, args...)
	}
}

// esc is AOSP's ResTable::normalizeForOutput.
func esc(s string) string {
	return strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`).Replace(s)
}

// build is how Debian's aapt prints platformBuildVersionName and its like.
func build(name string, v apk.Value) string {
	if v.Str == "" {
		return ""
	}
	return fmt.Sprintf(" %s='%s'", name, v)
}

func (w *lines) pkg(b *apk.Badging) {
	code := ""
	if c := int32(b.VersionCode); c > 0 {
		code = fmt.Sprint(c)
	}
	s := fmt.Sprintf("package: name='%s' versionCode='%s' versionName='%s'", b.Package, code, esc(b.VersionName))
	if b.Split != "" {
		s += fmt.Sprintf(" split='%s'", b.Split)
	}
	s += build("platformBuildVersionName", b.PlatformBuild) + build("platformBuildVersionCode", b.PlatformBuildCode)
	if b.CompileSDK > 0 {
		s += fmt.Sprintf(" compileSdkVersion='%d'", b.CompileSDK)
	}
	if b.CompileSDKCodename != "" {
		s += fmt.Sprintf(" compileSdkVersionCodename='%s'", b.CompileSDKCodename)
	}
	w.add("%s", s)
	w.addIf(b.InstallLocation != "", "install-location:'%s'", b.InstallLocation)
	// What aapt does not print is what the manifest does not say.
	w.addIf(b.MinSDKCodename != "", "sdkVersion:'%s'", b.MinSDKCodename)
	w.addIf(b.MinSDKCodename == "" && b.MinSDK > 1, "sdkVersion:'%d'", b.MinSDK)
	w.addIf(b.MaxSDK != 0, "maxSdkVersion:'%d'", b.MaxSDK)
	w.addIf(b.TargetSDKCodename != "", "targetSdkVersion:'%s'", b.TargetSDKCodename)
	w.addIf(b.TargetSDKCodename == "" && b.TargetSDK != b.MinSDK, "targetSdkVersion:'%d'", b.TargetSDK)
	for _, p := range b.Permissions {
		s := fmt.Sprintf("uses-permission: name='%s'", p.Name)
		if p.MinSDK == 23 {
			s = fmt.Sprintf("uses-permission-sdk-23: name='%s'", p.Name)
		}
		w.add("%s%s", s, maxSDK(p.MaxSDK))
	}
	for _, p := range b.ImpliedPermissions {
		w.add("uses-permission: name='%s'%s", p.Name, maxSDK(p.MaxSDK))
		w.add("uses-implied-permission: name='%s'%s reason='%s'", p.Name, maxSDK(p.MaxSDK), p.Reason)
	}
	for _, t := range b.GLTextures {
		w.add("supports-gl-texture:'%s'", t)
	}
	for _, p := range b.OriginalPackages {
		w.add("original-package:'%s'", p)
	}
}

func maxSDK(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" maxSdkVersion='%d'", n)
}

func (w *lines) application(b *apk.Badging) {
	label := b.Labels[""]
	for _, tag := range b.Locales {
		s, ok := b.Labels[tag]
		if label == "" {
			label = s
		}
		w.addIf(ok && tag == "", "application-label:'%s'", esc(s))
		w.addIf(ok && tag != "", "application-label-%s:'%s'", tag, esc(s))
	}
	for _, dpi := range b.Densities {
		w.addIf(b.Icons[dpi] != "", "application-icon-%d:'%s'", dpi, b.Icons[dpi])
	}
	banner := ""
	if b.Banner != "" {
		banner = fmt.Sprintf(" banner='%s'", b.Banner)
	}
	w.add("application: label='%s' icon='%s'%s", esc(label), b.Icon, banner)
	w.addIf(b.Application.TestOnly, "testOnly='-1'")
	w.addIf(b.Application.IsGame, "application-isGame")
	w.addIf(b.Debuggable, "application-debuggable")
	for _, l := range b.Libraries {
		w.addIf(l.Kind == apk.LibraryShared && l.Required, "uses-library:'%s'", l.Name)
		w.addIf(l.Kind == apk.LibraryShared && !l.Required, "uses-library-not-required:'%s'", l.Name)
		w.addIf(l.Kind == apk.LibraryPackage, "uses-package:'%s'", l.Name)
	}
	for _, l := range b.Launch {
		w.addIf(!l.TV && !l.Alias, "launchable-activity: name='%s'  label='%s' icon='%s'", l.Name, esc(l.Label), l.Icon)
		w.addIf(l.TV && !l.Alias, "leanback-launchable-activity: name='%s'  label='%s' icon='%s' banner='%s'", l.Name, esc(l.Label), l.Icon, l.Banner)
	}
}

func (w *lines) features(b *apk.Badging) {
	for _, g := range b.Groups {
		w.add("feature-group: label='%s'", g.Label)
		w.addIf(g.GLES != 0, "  uses-gl-es: '0x%x'", g.GLES)
		for _, f := range g.Features {
			not, version := "", ""
			if !f.Required {
				not = "-not-required"
			}
			if f.Version > 0 {
				version = fmt.Sprintf(" version='%d'", f.Version)
			}
			w.add("  uses-feature%s: name='%s'%s", not, f.Name, version)
		}
		for _, f := range g.Implied {
			sdk23, n := "", len(f.Reasons)
			if f.SDK23 {
				sdk23 = "-sdk-23"
			}
			reason := strings.Join(f.Reasons[:n-1], ", ")
			if n > 1 {
				reason += ", and "
			}
			w.add("  uses-feature%s: name='%s'", sdk23, f.Name)
			w.add("  uses-implied-feature%s: name='%s' reason='%s'", sdk23, f.Name, reason+f.Reasons[n-1])
		}
	}
}

func (w *lines) components(b *apk.Badging) {
	for _, r := range b.Roles {
		w.add("provides-component:'%s'", r)
	}
	isMain := func(c apk.Component) bool {
		return c.Kind == apk.KindActivity && slices.ContainsFunc(c.Filters, func(f apk.IntentFilter) bool { return slices.Contains(f.Actions, "android.intent.action.MAIN") })
	}
	w.addIf(slices.ContainsFunc(b.Components, isMain), "main")
	w.addIf(b.Others(apk.KindActivity), "other-activities")
	w.addIf(b.Others(apk.KindReceiver), "other-receivers")
	w.addIf(b.Others(apk.KindService), "other-services")
}

func (w *lines) screens(b *apk.Badging) {
	s := "supports-screens:"
	for i, ok := range []bool{b.Screens.Small, b.Screens.Normal, b.Screens.Large, b.Screens.XLarge} {
		if ok {
			s += fmt.Sprintf(" '%s'", []string{"small", "normal", "large", "xlarge"}[i])
		}
	}
	w.add("%s", s)
	w.add("supports-any-density: '%v'", b.Screens.AnyDensity)
	w.addIf(b.Screens.RequiresSmallestWidth > 0, "requires-smallest-width:'%d'", b.Screens.RequiresSmallestWidth)
	w.addIf(b.Screens.CompatibleWidthLimit > 0, "compatible-width-limit:'%d'", b.Screens.CompatibleWidthLimit)
	w.addIf(b.Screens.LargestWidthLimit > 0, "largest-width-limit:'%d'", b.Screens.LargestWidthLimit)
	s = "locales:"
	for _, l := range b.Locales {
		if l == "" {
			l = "--_--"
		}
		s += fmt.Sprintf(" '%s'", l)
	}
	w.add("%s", s)
	s = "densities:"
	for _, d := range b.Densities {
		s += fmt.Sprintf(" '%d'", d)
	}
	w.add("%s", s)
	w.addIf(len(b.NativeCode) > 0, "native-code: '%s'", strings.Join(b.NativeCode, "' '"))
	w.addIf(len(b.AltNativeCode) > 0, "alt-native-code: '%s'", strings.Join(b.AltNativeCode, "' '"))
}

// badgingDiff compares a package with what aapt said of it. Our manifest does not
// tell what is the default from what is written and the same; aapt does.
func badgingDiff(b *apk.Badging, want []string) []string {
	got := aaptText(b)
	for _, line := range []string{fmt.Sprintf("sdkVersion:'%d'", b.MinSDK), fmt.Sprintf("targetSdkVersion:'%d'", b.TargetSDK)} {
		if (b.MinSDK == 1 || b.MinSDK == b.TargetSDK) && slices.Contains(want, line) && !slices.Contains(got, line) {
			got = append(got, line)
		}
	}
	return diff(got, want)
}

// diff returns the lines that only one of the two has, as often as it has them.
func diff(got, want []string) (list []string) {
	count := map[string]int{}
	for _, l := range got {
		count[l]++
	}
	for _, l := range want {
		count[l]--
	}
	for _, l := range slices.Sorted(maps.Keys(count)) {
		if n := count[l]; n > 0 {
			list = append(list, fmt.Sprintf("aapt does not say %q", l))
		} else if n < 0 {
			list = append(list, fmt.Sprintf("aapt says %q", l))
		}
	}
	return list
}

// aaptLines cuts what aapt printed into lines without spaces at their ends.
func aaptLines(text string) (list []string) {
	for line := range strings.Lines(text) {
		list = append(list, strings.TrimRight(line, " \n"))
	}
	return list
}

// read opens the package at path and reads what it shows of itself.
func read(path string) (*apk.Badging, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	file, err := apk.Open(f, fi.Size())
	if err != nil {
		return nil, err
	}
	return file.Badging()
}

// Packages and lines of the conformance set, counted when the test was written:
// more may come, but none may be lost.
const (
	badgingPackages = 20
	badgingLines    = 600
)

// TestBadging compares every line that aapt printed of other people's packages.
func TestBadging(t *testing.T) {
	tally := conformance.New(t, "apk (aapt dump badging)")
	n := 0
	for text, path := range badgingFiles(t) {
		want, err := os.ReadFile(text)
		if err != nil {
			t.Fatal(err)
		}
		b, err := read(path)
		if err != nil {
			t.Errorf("%s: %v", filepath.Base(path), err)
			tally.Case(false)
			continue
		}
		lines := aaptLines(string(want))
		n += len(lines)
		bad := badgingDiff(b, lines)
		for _, d := range bad {
			t.Errorf("%s: %s", filepath.Base(path), d)
		}
		tally.Case(len(bad) == 0)
	}
	t.Logf("%d lines", n)
	if n < badgingLines {
		t.Errorf("%d lines, want %d: the set has shrunk", n, badgingLines)
	}
}

// TestBadgingOfSuite compares with what the installed aapt says of the packages
// of AOSP's own tests of signatures. Those that it or we refuse are hostile.
func TestBadgingOfSuite(t *testing.T) {
	tally := conformance.New(t, "apk (aapt dump badging, run)")
	aapt, err := tool.Look("aapt")
	if err != nil {
		t.Fatal(err)
	}
	n, refused := 0, 0
	for _, path := range glob(t, filepath.Join(conformance.Dir(t, "apksig"), "apks", "*.apk")) {
		b, err := read(path)
		want, aaptErr := exec.Command(aapt, "dump", "badging", path).Output()
		if err != nil || aaptErr != nil {
			refused++
			t.Logf("%s: %v; aapt: %v", filepath.Base(path), err, aaptErr)
			continue
		}
		n++
		bad := badgingDiff(b, aaptLines(string(want)))
		for _, d := range bad {
			t.Errorf("%s: %s", filepath.Base(path), d)
		}
		tally.Case(len(bad) == 0)
	}
	if n < 220 || refused > 8 {
		t.Errorf("%d compared, %d refused", n, refused)
	}
}

// badgingFiles returns the packages by the files of what aapt says of them.
func badgingFiles(t *testing.T) map[string]string {
	files := map[string]string{}
	apps := conformance.Dir(t, "apps")
	for _, f := range glob(t, apps+"/*.badging.txt") {
		files[f] = strings.TrimSuffix(f, ".badging.txt")
	}
	fdroid := conformance.Dir(t, "fdroid")
	for _, f := range glob(t, fdroid+"/aapt/repo__*.badging.txt") {
		files[f] = filepath.Join(fdroid, "repo", strings.TrimSuffix(strings.TrimPrefix(filepath.Base(f), "repo__"), ".badging.txt"))
	}
	if len(files) < badgingPackages {
		t.Fatalf("%d packages, want %d: the set has shrunk", len(files), badgingPackages)
	}
	return files
}
