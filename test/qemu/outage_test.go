package qemu_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"mios/build/product"
	"mios/desk"
	"mios/device/bootrecord"
)

// TestOutage: a device whose network is away each time it is switched on stays
// on the release that was healthy before, although another one could be booted,
// and is healthy once the network is back. The loader gives up a slot after
// three boots that it has to count.
func TestOutage(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	change := func(p *product.Product) {
		p.Health = append(p.Health, product.HealthCheck{Name: "cloud", HTTP: c.GuestURL(), Outside: true, Timeout: product.Duration(2 * time.Second)})
	}
	one := build(t, desk.BuildSpec{Version: "1-outage", Change: change})
	d := boot(t, one, with(c))
	d.healthyOn("_a")
	c.publish(t, build(t, desk.BuildSpec{Version: "2-outage", After: manifest(t, one).BuildTime, Change: change}))
	d.client("--update")
	d.healthyOn("_b")

	c.tamper(func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "outage", http.StatusServiceUnavailable)
		})
	})
	for range 4 {
		d.shell("reboot")
		d.waitFor(`mios: health check failed: health check "cloud": .* answers 503 .*\(iot 2-outage, slot _b,`)
		if err := d.ADB.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	// The device says that it is not healthy before it takes the boot off the count.
	off, size := d.partition("misc")
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		r, err := bootrecord.Read(io.NewSectionReader(d.Disk, off, size))
		if err == nil && len(r.Attempts) == 0 && len(r.Refusals) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the boot record is %+v, %v; want nothing counted and nothing refused", r, err)
		}
	}

	c.tamper(nil)
	d.client("--update") // sooner than it would look by itself
	d.healthyOn("_b")
	d.want("2-outage _b healthy")
}
