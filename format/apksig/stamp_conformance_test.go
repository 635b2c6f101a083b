package apksig_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"mios/format/apksig"
	"mios/internal/conformance"
)

func verifyStampFile(t *testing.T, path, least, most string) (*apksig.Stamp, error) {
	t.Helper()
	f, size, o := openFile(t, path, least, most)
	defer f.Close()
	return apksig.VerifyStamp(t.Context(), f, size, apksig.StampOptions{MinSDK: o.MinSDK, MaxSDK: o.MaxSDK})
}

func named(issues []apksig.Issue, name string) bool {
	return slices.ContainsFunc(issues, func(i apksig.Issue) bool { return i.Name == name })
}

// stampOutcome reports whether a stamp is what a row of expect.tsv says.
func stampOutcome(s *apksig.Stamp, warnings []apksig.Issue, expect, detail string) bool {
	switch expect {
	case "stamp_issue":
		return named(warnings, detail) || s != nil && !s.Verified() && named(s.Issues, detail)
	case "flag":
		return detail == "isSourceStampVerified" && s != nil && s.Verified()
	}
	if s == nil {
		return false
	}
	switch expect {
	case "verified":
		return s.Verified() && len(s.Issues) == 0
	case "stamp_status":
		return string(s.Status) == detail
	case "stamp_timestamp":
		return strconv.FormatInt(s.Timestamp, 10) == detail
	}
	return false
}

// TestStampExpected runs the rows of AOSP's own test suite that are about
// source stamps.
func TestStampExpected(t *testing.T) {
	const wantAlone, wantWithin = 34, 7
	dir := conformance.Dir(t, "apksig")
	tally := conformance.New(t, "apksig source stamps (rows of expect.tsv)")
	var alone, within int
	for _, row := range tsv(t, dir, "expect.tsv") {
		path := filepath.Join(dir, "apks", row[0])
		var ok bool
		switch {
		case row[3] == "stamp":
			alone++
			s, err := verifyStampFile(t, path, row[1], row[2])
			if ok = err == nil && stampOutcome(s, nil, row[4], row[5]); !ok {
				t.Errorf("VerifyStamp %s (SDK %s to %s) = %+v, %v; want %s %s", row[0], row[1], row[2], s, err, row[4], row[5])
			}
		case row[4] == "stamp_issue" || row[5] == "isSourceStampVerified":
			within++
			res, err := verifyFile(t, path, row[1], row[2])
			if ok = err == nil && stampOutcome(res.Stamp, res.Warnings, row[4], row[5]); !ok {
				t.Errorf("Verify %s (SDK %s to %s) = %+v, %v; want %s %s", row[0], row[1], row[2], res, err, row[4], row[5])
			}
		default:
			continue
		}
		tally.Case(ok)
	}
	if alone != wantAlone || within != wantWithin {
		t.Errorf("%d rows of stamps alone and %d within, want %d and %d", alone, within, wantAlone, wantWithin)
	}
}

// issueNames gives issues as observed.tsv has them.
func issueNames(issues []apksig.Issue) string {
	var out []string
	for _, i := range issues {
		where := i.Signer
		if where == "" {
			where = "top"
		}
		out = append(out, where+":"+i.Name)
	}
	return strings.Join(out, ",")
}

// TestStampObserved compares with what AOSP's verifier was seen to say of the
// stamp of each package.
func TestStampObserved(t *testing.T) {
	const want = 227
	dir := conformance.Dir(t, "apksig")
	tally := conformance.New(t, "apksig source stamps alone, observed")
	n := 0
	for _, row := range tsv(t, dir, "observed.tsv") {
		if row[0] != "stamp" {
			continue
		}
		n++
		s, err := verifyStampFile(t, filepath.Join(dir, "apks", row[1]), row[2], row[3])
		if err != nil {
			t.Errorf("VerifyStamp %s: %v", row[1], err)
			tally.Case(false)
			continue
		}
		got := fmt.Sprintf("%s@%d", s.Status, s.Timestamp)
		names := strings.ReplaceAll(issueNames(s.Issues), "stamp:", "")
		wantNames := strings.ReplaceAll(strings.ReplaceAll(row[12]+row[13], "stamp:", ""), "top:", "")
		ok := got == row[11] && names == wantNames && strconv.FormatBool(s.Verified()) == row[10]
		if !ok {
			t.Errorf("VerifyStamp %s (SDK %s to %s): %s %s; want %s %s %s", row[1], row[2], row[3], got, names, row[11], row[12], row[13])
		}
		tally.Case(ok)
	}
	if n != want {
		t.Errorf("%d rows, want %d", n, want)
	}
}

// TestStampObservedWithin compares what Verify says of stamps with what AOSP's
// verifier was seen to say, for all ranges of SDK versions.
func TestStampObservedWithin(t *testing.T) {
	const want = 133
	dir := conformance.Dir(t, "apksig")
	tally := conformance.New(t, "apksig source stamps within a package's verification, observed")
	n := 0
	for _, row := range tsv(t, dir, "observed.tsv") {
		if row[0] != "verify" || len(row) < 15 || row[11] == "" && !strings.Contains(row[13], "SOURCE_STAMP") {
			continue
		}
		n++
		res, err := verifyFile(t, filepath.Join(dir, "apks", row[1]), row[2], row[3])
		ok := err == nil && stampObserved(res, row)
		if !ok {
			t.Errorf("Verify %s (SDK %s to %s) = %+v, %v; want %q", row[1], row[2], row[3], res, err, row)
		}
		tally.Case(ok)
	}
	if n != want {
		t.Errorf("%d rows, want %d", n, want)
	}
}

func stampObserved(res *apksig.Result, row []string) bool {
	if row[11] == "" {
		return res.Stamp == nil && named(res.Warnings, "SOURCE_STAMP_SIG_MISSING") == strings.Contains(row[13], "top:SOURCE_STAMP_SIG_MISSING")
	}
	if res.Stamp == nil || fmt.Sprintf("%s@%d", res.Stamp.Status, res.Stamp.Timestamp) != row[11] {
		return false
	}
	for _, i := range res.Stamp.Issues {
		if !strings.Contains(row[13], "stamp:"+i.Name) {
			return false
		}
	}
	return res.Stamp.Verified() == !strings.Contains(row[13], "stamp:")
}
