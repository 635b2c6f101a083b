package apksig_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
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

func verifyFile(t *testing.T, path string, least, most string) (*apksig.Result, error) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	var o apksig.Options
	o.MinSDK, _ = strconv.Atoi(least)
	o.MaxSDK, _ = strconv.Atoi(most)
	return apksig.Verify(t.Context(), f, fi.Size(), o)
}

// judged reports whether this package can judge a row of expect.tsv: what
// hangs on JAR signatures (v1) or source stamps it cannot.
func judged(apkName, minSDK, mode, expect, detail string) bool {
	stamp := strings.HasPrefix(detail, "SOURCE_STAMP") || strings.Contains(detail, "SourceStamp")
	switch {
	case mode != "verify" || stamp || strings.HasPrefix(apkName, "v1-"):
		return false
	case expect == "exception", strings.HasPrefix(detail, "V2_"), strings.HasPrefix(detail, "V3"):
		return true
	case strings.HasPrefix(apkName, "v31-"), strings.HasPrefix(apkName, "v3-only-"):
		return true
	case strings.HasPrefix(apkName, "v2-only-"):
		return minSDK != "" || detail != "" && !strings.Contains(apkName, "targetSandboxVersion")
	}
	n, _ := strconv.Atoi(minSDK)
	return n >= 24
}

// TestExpected runs the rows of AOSP's own test suite that are about v2 and v3.
func TestExpected(t *testing.T) {
	const wantJudged = 69
	dir := conformance.Dir(t, "apksig")
	tally := conformance.New(t, "apksig v2, v3, v3.1 (rows of expect.tsv that hang on neither v1 nor stamps)")
	rows, n := tsv(t, dir, "expect.tsv"), 0
	for _, row := range rows {
		if !judged(row[0], row[1], row[3], row[4], row[5]) {
			continue
		}
		n++
		res, err := verifyFile(t, filepath.Join(dir, "apks", row[0]), row[1], row[2])
		ok := outcome(res, err, row[4], row[5])
		if !ok {
			t.Errorf("%s (SDK %s to %s): %+v, %v; want %s %s", row[0], row[1], row[2], res, err, row[4], row[5])
		}
		tally.Case(ok)
	}
	t.Logf("%d of %d rows judged", n, len(rows))
	if n != wantJudged {
		t.Errorf("%d rows judged, want %d", n, wantJudged)
	}
}

func outcome(res *apksig.Result, err error, expect, detail string) bool {
	_, malformed := errors.AsType[*apk.FormatError](err)
	named := func(issues []apksig.Issue) bool {
		return slices.ContainsFunc(issues, func(i apksig.Issue) bool { return i.Name == detail })
	}
	switch expect {
	case "exception":
		return malformed
	case "not_verified":
		if malformed { // what AOSP passes over as no signature
			return detail == "JAR_SIG_NO_MANIFEST"
		}
		return err == nil && !res.Verified() && named(res.Errors)
	}
	if err != nil {
		return false
	}
	v31 := func(s apksig.Signature) bool { return s.Scheme == apksig.V31 }
	switch expect {
	case "verified":
		return res.Verified()
	case "warning":
		return named(res.Warnings)
	case "v31_signer_min_sdk":
		i := slices.IndexFunc(res.Signatures, v31)
		return i >= 0 && strconv.Itoa(res.Signatures[i].MinSDK) == detail
	case "flag":
		return detail == "isVerifiedUsingV31Scheme" && slices.ContainsFunc(res.Signatures, v31)
	}
	return false
}

// TestObserved compares with what AOSP's verifier was seen to say from SDK
// version 24 on, wherever v2 or v3 decided, and with whom it named as signer.
func TestObserved(t *testing.T) {
	dir := conformance.Dir(t, "apksig")
	tally := conformance.New(t, "apksig, observed from SDK version 24 on")
	for _, row := range tsv(t, dir, "observed.tsv") {
		if row[0] != "verify" || len(row) < 15 {
			continue
		}
		least, _ := strconv.Atoi(row[2])
		scheme := row[6] == "true" || row[7] == "true" || row[8] == "true"
		if least < 24 || !scheme && !strings.Contains(row[12], ":V2_") && !strings.Contains(row[12], ":V3") {
			continue
		}
		res, err := verifyFile(t, filepath.Join(dir, "apks", row[1]), row[2], row[3])
		if err != nil {
			t.Errorf("%s (SDK %s to %s): %v", row[1], row[2], row[3], err)
			tally.Case(false)
			continue
		}
		var signers []string
		for _, s := range res.Signers() {
			signers = append(signers, s.Digest().String())
		}
		ok := strconv.FormatBool(res.Verified()) == row[4] && (!res.Verified() || strings.Join(signers, ",") == row[14])
		if !ok {
			t.Errorf("%s (SDK %s to %s): %+v, signers %v; want %q", row[1], row[2], row[3], res, signers, row)
		}
		tally.Case(ok)
	}
}

// TestSignGoldens signs once more what AOSP's apksig signed without a lineage:
// the signing block must come out byte for byte.
func TestSignGoldens(t *testing.T) {
	const wantJudged = 22
	dir := conformance.Dir(t, "apksig")
	tally := conformance.New(t, "apksig signing blocks, v2 and v3")
	apks := filepath.Join(dir, "apks")
	n := 0
	for _, row := range tsv(t, dir, "sign-goldens.tsv") {
		v2, v3 := row[4] != "false", row[5] != "false"
		if row[8] != "" || !v2 && !v3 {
			continue
		}
		n++
		want, err := os.ReadFile(filepath.Join(apks, row[1]))
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		o := apksig.SignOptions{Signers: []apksig.Signer{loadSigner(t, filepath.Join(apks, row[2]))}, V2: v2, V3: v3}
		if err := apksig.Sign(t.Context(), bytes.NewReader(want), int64(len(want)), o, &out); err != nil {
			t.Errorf("%s: %v", row[1], err)
		}
		ok := bytes.Equal(out.Bytes(), want)
		if !ok {
			t.Errorf("%s: other bytes", row[1])
		}
		tally.Case(ok)
	}
	if n != wantJudged {
		t.Errorf("%d goldens judged, want %d", n, wantJudged)
	}
}

func loadSigner(t *testing.T, base string) apksig.Signer {
	t.Helper()
	der, err := os.ReadFile(base + ".pk8")
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := os.ReadFile(base + ".x509.pem")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(cert)
	return apksig.Signer{Key: key.(crypto.Signer), Certificate: block.Bytes}
}
