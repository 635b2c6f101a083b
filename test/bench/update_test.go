package bench_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"mios"
	"mios/build/image"
	"mios/build/ota"
	"mios/build/product"
	"mios/desk"
	serverepo "mios/serve/repo"
)

// BenchmarkUpdate measures an update on the device against dd of the same bytes
// to the same disk, the updater's memory, and what a booted device needs.
func BenchmarkUpdate(b *testing.B) {
	dir := buildChanged(b, mios.AMD64, "1-manual", 0, manual)
	m, err := image.ReadManifest(dir)
	if err != nil {
		b.Fatal(err)
	}
	next := buildChanged(b, mios.AMD64, "2-manual", m.BuildTime, manual)
	if _, _, err := the.desk.Publish(b.Context(), the.repo, next, nil); err != nil {
		b.Fatal(err)
	}
	payload, err := os.Stat(payloadFile(b, next))
	if err != nil {
		b.Fatal(err)
	}
	boot, err := os.Stat(filepath.Join(dir, image.BootImage))
	if err != nil {
		b.Fatal(err)
	}
	server, err := desk.Serve("127.0.0.1:0", (&serverepo.Service{Repo: the.repo, Log: slog.New(slog.DiscardHandler)}).Handler())
	if err != nil {
		b.Fatal(err)
	}
	defer server.Close()
	var apply, verify, copied sample
	var high, size int64
	for range runs(b) {
		u := updateDevice(b, dir, server.GuestURL(), boot.Size())
		apply, verify, copied = append(apply, u.apply), append(verify, u.verify), append(copied, u.copied)
		high, size = max(high, u.high), u.size
	}
	per := func(s sample) string { return fmt.Sprintf("%.1f MiB/s", mib(size)/s.min().Seconds()) }
	print(fmt.Sprintf("update, amd64, %d runs: a payload of %.1f MiB, partitions of %.1f MiB", len(apply), mib(payload.Size()), mib(size)), [][]string{
		{"", "median", "min", ""},
		{"dd of the partitions' bytes, with fsync", seconds(copied.median()), seconds(copied.min()), per(copied)},
		{"fetch and write", seconds(apply.median()), seconds(apply.min()), per(apply)},
		{"read back and verify", seconds(verify.median()), seconds(verify.min()), per(verify)},
		{"update_engine's memory at its highest", fmt.Sprintf("%.1f MiB", mib(high))},
	})
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(apply.min().Seconds()/copied.min().Seconds(), "apply/dd")
	b.ReportMetric(verify.min().Seconds()/copied.min().Seconds(), "verify/dd")
	b.ReportMetric(mib(high), "MiB-peak")
}

// An update is what one took.
type update struct {
	apply, verify, copied time.Duration
	high, size            int64 // bytes
}

// payloadFile returns the file of a build's full payload.
func payloadFile(b *testing.B, build string) string {
	b.Helper()
	dir, _, err := the.desk.Payload(b.Context(), build, nil)
	if err != nil {
		b.Fatal(err)
	}
	return filepath.Join(dir, ota.PayloadFile)
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

// manual makes a device look for updates, and reboot, only when it is told to.
func manual(p *product.Product) { p.Update.Interval, p.Update.AutoReboot = 0, false }

// updateDevice boots a build, updates it, and then copies the bytes of the
// running slot to the other one's boot partition, which is no longer needed.
func updateDevice(b *testing.B, dir, url string, boot int64) (u update) {
	b.Helper()
	d := start(b, desk.DeviceConfig{Build: dir, Dir: b.TempDir(), Repository: url})
	defer d.Close()
	healthy(b, d, func() {})
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	cmd := d.ADB.Command(ctx, "shell", "update_engine_client --update --follow --json")
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	at := map[string]time.Duration{} // since begin, of the first line of each state
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var s struct{ State string }
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			b.Fatalf("update_engine_client: %q: %v", lines.Text(), err)
		}
		if _, seen := at[s.State]; !seen {
			at[s.State] = time.Since(begin)
		}
	}
	if err := cmd.Wait(); err != nil || at["VERIFYING"] == 0 || at["UPDATED_NEED_REBOOT"] == 0 {
		b.Fatalf("update: %v: %v", err, at)
	}
	u.apply, u.verify = at["VERIFYING"], at["UPDATED_NEED_REBOOT"]-at["VERIFYING"]
	u.high = kib(b, shell(b, d, "cat /proc/$(pidof update_engine)/status"), "VmHWM")
	shell(b, d, "head -c "+fmt.Sprint(boot)+" /dev/block/by-name/boot_a > /tmp/bytes && cat /dev/dm-1 >> /tmp/bytes")
	text := shell(b, d, "dd if=/tmp/bytes of=/dev/block/by-name/boot_b bs=1M conv=fsync,notrunc 2>&1")
	m := copiedIn.FindStringSubmatch(text)
	if m == nil {
		b.Fatalf("dd says %q", text)
	}
	u.size, u.copied = number(b, m[1]), time.Duration(number(b, m[2])*1000+number(b, m[3]))*time.Millisecond
	return u
}

// copiedIn matches what dd says: bytes, seconds, thousandths.
var copiedIn = regexp.MustCompile(`(\d+) bytes .* copied, (\d+)\.(\d{3}) s`)

func number(b *testing.B, s string) int64 {
	b.Helper()
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// kib returns a quantity in KiB of one of /proc's texts, in bytes.
func kib(b *testing.B, text, name string) int64 {
	b.Helper()
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == name+":" {
			return number(b, f[1]) << 10
		}
	}
	b.Fatalf("no %s in %q", name, text)
	return 0
}

// BenchmarkIdle prints what a booted device needs when nothing happens, and how
// large its programs and images are.
func BenchmarkIdle(b *testing.B) {
	for _, arch := range []mios.Arch{mios.AMD64, mios.ARM64} {
		b.Run(string(arch), func(b *testing.B) {
			dir := build(b, arch, "1", 0)
			full, ramdisk, err := image.Programs(arch)
			if err != nil {
				b.Fatal(err)
			}
			rows := [][]string{{"", "MiB"}}
			for _, f := range []string{full, ramdisk, filepath.Join(dir, image.SystemImage), filepath.Join(dir, image.BootImage)} {
				fi, err := os.Stat(f)
				if err != nil {
					b.Fatal(err)
				}
				rows = append(rows, []string{filepath.Base(f), fmt.Sprintf("%.1f", mib(fi.Size()))})
			}
			d := start(b, desk.DeviceConfig{Build: dir, Dir: b.TempDir()})
			defer d.Close()
			healthy(b, d, func() {})
			info := shell(b, d, "cat /proc/meminfo")
			total, available := kib(b, info, "MemTotal"), kib(b, info, "MemAvailable")
			rows = append(rows, []string{"memory of the machine, without the kernel's own", fmt.Sprintf("%.0f", mib(total))},
				[]string{"- available when idle", fmt.Sprintf("%.0f", mib(available))}, []string{"- in use", fmt.Sprintf("%.0f", mib(total-available))})
			for _, name := range []string{"init", "netd", "adbd", "installd", "update_engine"} {
				pid := "1"
				if name != "init" {
					pid = shell(b, d, "getprop init.svc_debug_pid."+name)
				}
				text := shell(b, d, "cat /proc/"+pid+"/smaps_rollup")
				rows = append(rows, []string{"- " + name, fmt.Sprintf("%.1f PSS, %.1f its own", mib(kib(b, text, "Pss")), mib(kib(b, text, "Private_Dirty")))})
			}
			print(fmt.Sprintf("sizes and idle memory, %s", arch), rows)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(mib(total-available), "MiB-idle")
		})
	}
}
