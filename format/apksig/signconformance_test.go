package apksig_test

import (
	"bytes"
	"encoding/pem"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"mios/format/apksig"
	"mios/internal/conformance"
)

// loadSigner reads a key and its certificate, without the extension of their
// files.
func loadSigner(tb testing.TB, base string) apksig.Signer {
	tb.Helper()
	der, err := os.ReadFile(base + ".pk8")
	if err != nil {
		tb.Fatal(err)
	}
	key, err := apksig.ParsePrivateKey(der)
	if err != nil {
		tb.Fatalf("%s: %v", base, err)
	}
	cert, err := os.ReadFile(base + ".x509.pem")
	if err != nil {
		tb.Fatal(err)
	}
	block, rest := pem.Decode(cert)
	s := apksig.Signer{Key: key, Certificate: block.Bytes, Name: filepath.Base(base)}
	for block, rest = pem.Decode(rest); block != nil; block, rest = pem.Decode(rest) {
		s.Chain = append(s.Chain, block.Bytes)
	}
	return s
}

// TestSignGoldens signs what AOSP's own test suite signs, with the same keys
// and options: each package comes out byte for byte.
func TestSignGoldens(t *testing.T) {
	const wantGoldens = 40
	dir := conformance.Dir(t, "apksig")
	tally := conformance.New(t, "apksig signed packages, byte for byte")
	apks := filepath.Join(dir, "apks")
	rows := tsv(t, dir, "sign-goldens.tsv")
	for _, row := range rows {
		in, err := os.ReadFile(filepath.Join(apks, row[0]))
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(filepath.Join(apks, row[1]))
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		err = apksig.Sign(t.Context(), bytes.NewReader(in), int64(len(in)), goldenOptions(t, apks, row), &out)
		at := 0
		for at < min(out.Len(), len(want)) && out.Bytes()[at] == want[at] {
			at++
		}
		ok := err == nil && bytes.Equal(out.Bytes(), want)
		if !ok {
			t.Errorf("%s -> %s: %v; %d bytes, want %d, the first %d are right", row[0], row[1], err, out.Len(), len(want), at)
		}
		tally.Case(ok)
	}
	if len(rows) != wantGoldens {
		t.Errorf("%d goldens, want %d", len(rows), wantGoldens)
	}
}

// goldenOptions reads a row: input, output, signers, v1, v2, v3, minimal SDK
// version, that of the rotation, lineage, verity, other settings.
func goldenOptions(t *testing.T, apks string, row []string) apksig.SignOptions {
	t.Helper()
	// That alignment is kept stands in each of AOSP's tests, if not in each row.
	o := apksig.SignOptions{V1: row[3] != "false", V2: row[4] != "false", V3: row[5] != "false", Verity: row[9] == "true", KeepAlignment: true}
	if row[6] != "" {
		o.MinSDK, _ = strconv.Atoi(row[6])
	}
	for name := range strings.SplitSeq(row[2], "+") {
		o.Signers = append(o.Signers, loadSigner(t, filepath.Join(apks, name)))
	}
	if row[8] != "" {
		b, err := os.ReadFile(filepath.Join(apks, row[8]))
		if err != nil {
			t.Fatal(err)
		}
		if o.Lineage, err = apksig.ParseLineage(b); err != nil {
			t.Fatal(err)
		}
		o.RotationMinSDK, _ = strconv.Atoi(row[7])
		if len(o.Signers) == 1 { // AOSP's test has both in a variable that the table does not follow
			o.Signers = append(o.Signers, loadSigner(t, filepath.Join(apks, "rsa-2048_2")))
		}
	}
	for other := range strings.SplitSeq(row[10], ",") {
		switch other {
		case "setAlignmentPreserved":
		case "setLibraryPageAlignmentBytes":
			o.PageAlign = 4096
		case "setAlignFileSize(true)":
			o.PadFile = true
		default:
			t.Fatalf("%q: unknown", other)
		}
	}
	return o
}
