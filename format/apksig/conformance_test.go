package apksig_test

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"mios/format/apk"
	"mios/format/apksig"
	"mios/internal/conformance"
)

// tsv returns the rows of a table of the set, without its comments.
func tsv(t *testing.T, dir, name string) [][]string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	var rows [][]string
	for line := range strings.Lines(string(b)) {
		if !strings.HasPrefix(line, "#") {
			rows = append(rows, strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
		}
	}
	return rows
}

// openFile opens a package of the set for the SDK versions of a row.
func openFile(t *testing.T, path, least, most string) (*os.File, int64, apksig.Options) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	fi, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	var o apksig.Options
	o.MinSDK, _ = strconv.Atoi(least)
	o.MaxSDK, _ = strconv.Atoi(most)
	return f, fi.Size(), o
}

func verifyFile(t *testing.T, path, least, most string) (*apksig.Result, error) {
	t.Helper()
	f, size, o := openFile(t, path, least, most)
	defer f.Close()
	return apksig.Verify(t.Context(), f, size, o)
}

// scheme names the scheme that a package of AOSP's suite is about.
func scheme(apkName string) string {
	for _, s := range []string{"v1-only", "v2-only", "v3-only", "v31", "stamp", "golden"} {
		if strings.HasPrefix(apkName, s) {
			return strings.TrimSuffix(s, "-only")
		}
	}
	return "others"
}

// newTallies returns what counts a row, in a tally for each scheme, and fails
// if there are not as many rows as want says.
func newTallies(t *testing.T, what string, want map[string]int) func(apkName string, ok bool) {
	got, all := make(map[string]int), make(map[string]*conformance.Tally)
	for s := range want {
		all[s] = conformance.New(t, "apksig "+what+", "+s)
	}
	t.Cleanup(func() {
		if !maps.Equal(got, want) {
			t.Errorf("%s: judged rows %v, want %v", what, got, want)
		}
	})
	return func(apkName string, ok bool) {
		s := scheme(apkName)
		if got[s]++; all[s] != nil {
			all[s].Case(ok)
		}
	}
}

// TestExpected runs the rows of AOSP's own test suite that are about signatures.
// Those about source stamps alone are TestStampExpected's.
func TestExpected(t *testing.T) {
	dir := conformance.Dir(t, "apksig")
	judge := newTallies(t, "expect.tsv", map[string]int{"v1": 105, "v2": 40, "v3": 19, "v31": 9, "stamp": 8, "others": 21})
	for _, row := range tsv(t, dir, "expect.tsv") {
		if row[3] != "verify" {
			continue
		}
		res, err := verifyFile(t, filepath.Join(dir, "apks", row[0]), row[1], row[2])
		ok := outcome(res, err, row[4], row[5])
		if !ok {
			t.Errorf("%s (SDK %s to %s): %+v, %v; want %s %s", row[0], row[1], row[2], res, err, row[4], row[5])
		}
		judge(row[0], ok)
	}
}

func outcome(res *apksig.Result, err error, expect, detail string) bool {
	_, malformed := errors.AsType[*apk.FormatError](err)
	switch expect {
	case "exception":
		return malformed
	case "no_exception":
		return err == nil
	case "not_verified":
		return err == nil && !res.Verified() && named(res.Errors, detail)
	}
	if err != nil {
		return false
	}
	switch expect {
	case "verified":
		return res.Verified()
	case "warning":
		return named(res.Warnings, detail)
	case "signer_cert_sha256":
		return res.Verified() && signerDigests(res) == detail
	case "v31_signer_min_sdk":
		i := slices.IndexFunc(res.Signatures, func(s apksig.Signature) bool { return s.Scheme == apksig.V31 })
		return i >= 0 && strconv.Itoa(res.Signatures[i].MinSDK) == detail
	case "flag":
		return detail == "isVerifiedUsingV31Scheme" && res.VerifiedBy(apksig.V31) ||
			detail == "isSourceStampVerified" && res.Stamp != nil && res.Stamp.Verified()
	case "stamp_issue":
		return stampOutcome(res.Stamp, res.Warnings, expect, detail)
	}
	return false
}

func signerDigests(res *apksig.Result) string {
	var out []string
	for _, s := range res.Signers() {
		out = append(out, s.Digest().String())
	}
	return strings.Join(out, ",")
}

// TestObserved compares with what AOSP's verifier was seen to say, for all
// ranges of SDK versions: whether a package verifies and by which schemes, who
// signed it, and each error and warning by name.
func TestObserved(t *testing.T) {
	dir := conformance.Dir(t, "apksig")
	judge := newTallies(t, "observed.tsv", map[string]int{"v1": 785, "v2": 304, "v3": 152, "v31": 62, "stamp": 104, "golden": 192, "others": 197})
	for _, row := range tsv(t, dir, "observed.tsv") {
		if row[0] != "verify" {
			continue
		}
		res, err := verifyFile(t, filepath.Join(dir, "apks", row[1]), row[2], row[3])
		got := observation(res, err)
		want := []string{row[4], "", "", "", ""}
		if !strings.HasPrefix(row[4], "EXCEPTION") {
			want = []string{row[4], strings.Join(row[5:9], " "), issueSet(row[12]), issueSet(row[13]), row[14]}
		} else if _, malformed := errors.AsType[*apk.FormatError](err); malformed {
			got[0] = row[4]
		}
		ok := slices.Equal(got, want)
		if row[1] == "v1-only-with-nul-in-entry-name.apk" { // which package apk refuses, and so do newer platforms
			ok = err != nil && strings.Contains(err.Error(), "holds a NUL")
		}
		if !ok {
			t.Errorf("%s (SDK %s to %s): %q, %v; want %q", row[1], row[2], row[3], got, err, want)
		}
		judge(row[1], ok)
	}
}

// observation gives a result as observed.tsv has it.
func observation(res *apksig.Result, err error) []string {
	if err != nil {
		return []string{"error", "", "", "", ""}
	}
	var by []string
	for _, s := range []apksig.Scheme{apksig.V1, apksig.V2, apksig.V3, apksig.V31} {
		by = append(by, strconv.FormatBool(res.VerifiedBy(s)))
	}
	signers := ""
	if res.Verified() {
		signers = signerDigests(res)
	}
	return []string{strconv.FormatBool(res.Verified()), strings.Join(by, " "), issueSet(issueNames(res.Errors)), issueSet(issueNames(res.Warnings)), signers}
}

// issueSet gives the names of issues without those that they are about, in
// order. Those of stamps are TestStampObservedWithin's.
func issueSet(list string) string {
	var out []string
	for item := range strings.SplitSeq(list, ",") {
		_, name, _ := strings.Cut(item, ":")
		if name != "" && !strings.HasPrefix(name, "SOURCE_STAMP") {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return strings.Join(out, ",")
}
