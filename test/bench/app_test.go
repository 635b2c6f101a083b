package bench_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"mios/build/image"
	"mios/format/apk"
	"mios/format/apksig"
)

// BenchmarkAppVerify measures "mios app verify" against "apksigner verify" of
// the same packages, from the start of the program to its end: one of 3 MiB, one
// of 200 MiB, and one with as many entries as a ZIP file can have, which v1
// signs. The large one is compared with "openssl dgst -sha256" too.
func BenchmarkAppVerify(b *testing.B) {
	dir := b.TempDir()
	for _, p := range []struct {
		name    string
		entries []int // sizes
		method  apk.Method
		v1      bool
		digest  bool
	}{
		{"3 MiB, v2+v3", []int{1 << 20, 1 << 20, 1 << 20}, apk.Store, false, false},
		{"3 MiB, deflated, v1+v2+v3", repeat(30<<10, 200), apk.Deflate, true, false},
		{"200 MiB, v2+v3", repeat(10<<20, 20), apk.Store, false, true},
		{"60000 entries, v1+v2+v3", repeat(16, 60000), apk.Store, true, false},
	} {
		b.Run(p.name, func(b *testing.B) {
			path := filepath.Join(dir, "app.apk")
			writeApp(b, path, p.entries, p.method, p.v1)
			var ours, theirs, openssl sample
			var peak int64
			for range runs(b) {
				took, rss := program(b, "app", "verify", path)
				ours, peak = append(ours, took), max(peak, rss)
				theirs = append(theirs, command(b, "apksigner", "verify", path))
				if p.digest {
					openssl = append(openssl, command(b, "openssl", "dgst", "-sha256", path))
				}
			}
			if p.digest {
				compare(b, "app verify, "+p.name, "openssl dgst -sha256", ours, openssl)
				b.ReportMetric(openssl.min().Seconds()/ours.min().Seconds(), "openssl/ours")
			}
			compare(b, "app verify, "+p.name, "apksigner verify", ours, theirs)
			b.ReportMetric(theirs.min().Seconds()/ours.min().Seconds(), "times-as-fast(min)")
			b.ReportMetric(theirs.median().Seconds()/ours.median().Seconds(), "times-as-fast(median)")
			b.ReportMetric(float64(peak)/1024, "peak-MiB")
		})
	}
}

// BenchmarkAppInspect measures "mios app inspect" against "aapt dump badging".
func BenchmarkAppInspect(b *testing.B) {
	path := filepath.Join(b.TempDir(), "app.apk")
	writeApp(b, path, repeat(30<<10, 200), apk.Deflate, false)
	var ours, theirs sample
	var peak int64
	for range runs(b) {
		took, rss := program(b, "app", "inspect", path)
		ours, peak = append(ours, took), max(peak, rss)
		theirs = append(theirs, command(b, "aapt", "dump", "badging", path))
	}
	compare(b, "app inspect", "aapt dump badging", ours, theirs)
	b.ReportMetric(float64(peak)/1024, "peak-MiB")
}

func repeat(size, count int) []int {
	out := make([]int, count)
	for i := range out {
		out[i] = size
	}
	return out
}

// writeApp writes a signed package with entries of those sizes. Deflated ones
// hold text of few words, stored ones random bytes.
func writeApp(b *testing.B, path string, entries []int, method apk.Method, v1 bool) {
	b.Helper()
	root, err := apk.ParseText([]byte(`<manifest xmlns:android="http://schemas.android.com/apk/res/android" package="org.mios.bench"
		android:versionCode="1" android:versionName="1"><uses-sdk android:minSdkVersion="` + map[bool]string{true: "21", false: "24"}[v1] +
		`" android:targetSdkVersion="35"/><application android:label="bench"/></manifest>`))
	if err != nil {
		b.Fatal(err)
	}
	plain, err := os.Create(path + ".plain")
	if err != nil {
		b.Fatal(err)
	}
	defer os.Remove(plain.Name())
	defer plain.Close()
	w := apk.NewWriter(plain)
	add := func(name string, m apk.Method, data []byte) {
		if err := w.Add(name, m, bytes.NewReader(data)); err != nil {
			b.Fatal(err)
		}
	}
	add(apk.ManifestName, apk.Deflate, apk.AppendXML(nil, root))
	source := mathrand.NewChaCha8([32]byte{})
	words := mathrand.New(source)
	for i, n := range entries {
		data := make([]byte, n)
		if method == apk.Store {
			source.Read(data)
		} else {
			for j := 0; j < n; {
				j += copy(data[j:], fmt.Sprintf("%x ", words.IntN(1<<20)))
			}
		}
		add(fmt.Sprintf("assets/folder/entry-%05d", i), method, data)
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	size, err := plain.Seek(0, io.SeekEnd)
	if err != nil {
		b.Fatal(err)
	}
	out, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	defer out.Close()
	o := apksig.SignOptions{Signers: []apksig.Signer{newSigner(b)}, V1: v1, V2: true, V3: true}
	if err := apksig.Sign(b.Context(), plain, size, o, out); err != nil {
		b.Fatal(err)
	}
}

func newSigner(b *testing.B) apksig.Signer {
	b.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<31, 0),
	}
	cert, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		b.Fatal(err)
	}
	return apksig.Signer{Key: key, Certificate: cert}
}

// program runs mios, and returns how long it took and the most memory that
// it had at a time, in KiB.
func program(b *testing.B, args ...string) (time.Duration, int64) {
	b.Helper()
	took := command(b, miosProgram(), args...)
	return took, peak(b, args...) // once more, for watching takes time
}

// miosProgram is the path of mios.
func miosProgram() string { return filepath.Join(os.Getenv(image.ProgramsEnv), "mios") }

// peak runs mios and returns the most memory that it had at a time, in KiB. The
// rusage of a child counts the memory of the process that started it as well, so
// it is of no use.
func peak(b *testing.B, args ...string) int64 {
	b.Helper()
	name := miosProgram()
	cmd := exec.CommandContext(b.Context(), name, args...)
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	done := make(chan int64)
	stop := make(chan struct{})
	go func() {
		var peak int64
		for {
			peak = max(peak, highWater(cmd.Process.Pid))
			select {
			case <-stop:
				done <- peak
				return
			case <-time.After(500 * time.Microsecond):
			}
		}
	}()
	err := cmd.Wait()
	close(stop)
	most := <-done
	if err != nil {
		b.Fatal(err)
	}
	return most
}

// highWater returns the most memory that a process had so far, in KiB; 0 if it
// has ended.
func highWater(pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "VmHWM:" {
			n, _ := strconv.ParseInt(fields[1], 10, 64)
			return n
		}
	}
	return 0
}
