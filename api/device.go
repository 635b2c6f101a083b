// Package api is what the cloud and a device say to each other: wire types, a
// device's configuration, and the rules that both sides apply.
package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	"mios"
)

// DevicePath is where a device finds its [Device] description.
const DevicePath = "/system/etc/mios/device.json"

// A Device is what a build says of the devices it is for. It is a file in the
// system image, and so as trustworthy as the image.
type Device struct {
	Product string    `json:"product"` // ro.product.name
	Class   string    `json:"class"`   // phone, watch, iot or car
	Arch    mios.Arch `json:"arch"`
	Variant string    `json:"variant"` // user or userdebug
	Version string    `json:"version"` // what people call the build
	// BuildTime is the release's build timestamp in seconds since 1970: the
	// order of releases, the floor of the clock, update_engine's max_timestamp.
	BuildTime int64  `json:"build_time"`
	Channel   string `json:"channel"`
	// Regions are where devices of this product are sold; none means everywhere.
	Regions []string `json:"regions,omitempty"`

	// Repository lists the repository's addresses: mirrors, tried in turn.
	Repository []string `json:"repository"`
	// Hosts are all the hosts that the device may talk to on its own account.
	Hosts []string `json:"hosts"`
	// MaxMetadataAge is for how many seconds after it was signed metadata may
	// still install something.
	MaxMetadataAge int64 `json:"max_metadata_age"`

	Update Update        `json:"update"`
	Apps   Apps          `json:"apps,omitzero"`
	Health []HealthCheck `json:"health"`
}

// Update says how a device updates itself.
type Update struct {
	// Interval is the time between two looks for a release, in seconds; 0
	// means that the device looks only when asked.
	Interval   int64 `json:"interval"`
	AutoReboot bool  `json:"auto_reboot"` // into an update, once it is ready
	// Budget is how many bytes an update may fetch, or 0 for no limit.
	Budget int64 `json:"budget"`
}

// Apps says how a device keeps the apps up to date that came from its
// repository. The zero value means that it looks only when asked.
type Apps struct {
	// Interval is the time between two looks for newer releases, in seconds; 0
	// means that the device looks only when asked.
	Interval int64 `json:"interval,omitempty"`
	// Budget is how many bytes updates of apps may fetch in a period, or 0 for no
	// limit. What a person installs counts, and is not refused.
	Budget int64 `json:"budget,omitempty"`
	// Period is how long the budget is for, in seconds; 0 means 30 days.
	Period int64 `json:"period,omitempty"`
	// Track is the track of releases that the device follows: internal, beta or
	// production; "" means production.
	Track string `json:"track,omitempty"`
	// Features are those of Android's features that the device has, such as
	// android.hardware.camera.
	Features []string `json:"features,omitempty"`
	// Locales are the languages that splits are wanted for, as BCP 47 tags.
	Locales []string `json:"locales,omitempty"`
	// Density is the screen's, in dots per inch; 0 means that it has none.
	Density int `json:"density,omitempty"`
}

// A HealthCheck is one thing that must hold before a boot counts as good.
// Exactly one of Service, Property, HTTP and Exec is set.
type HealthCheck struct {
	Name string `json:"name"`
	// Service names a service of init's that must run, and still two seconds later.
	Service string `json:"service,omitempty"`
	// Property is NAME=VALUE.
	Property string `json:"property,omitempty"`
	// HTTP is an address that must answer with a status of 2xx.
	HTTP string `json:"http,omitempty"`
	// Exec is a command that must exit with status 0.
	Exec []string `json:"exec,omitempty"`
	// Outside says that the check does not only depend on the device, but on
	// what is around it: a network, above all. It decides on a new release as any
	// other, but nobody gives up a slot for it that was healthy before.
	Outside bool `json:"outside,omitempty"`
	// Timeout is by when it must hold, in seconds from the check's start.
	Timeout int64 `json:"timeout"`
}

// ParseDevice reads the JSON form of a [Device] strictly.
func ParseDevice(b []byte) (*Device, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	d := new(Device)
	if err := dec.Decode(d); err != nil {
		return nil, fmt.Errorf("device description: %v: %w", err, mios.ErrInvalid)
	}
	if dec.More() {
		return nil, fmt.Errorf("device description: bytes after the object: %w", mios.ErrInvalid)
	}
	if err := d.Check(); err != nil {
		return nil, fmt.Errorf("device description: %v: %w", err, mios.ErrInvalid)
	}
	return d, nil
}

// Check says what is wrong with the description, or nil.
func (d *Device) Check() error {
	switch {
	case d.Product == "":
		return errors.New("product is empty")
	case d.Arch.ABI() == "":
		return fmt.Errorf("arch is %q, want amd64 or arm64", d.Arch)
	case d.Variant != "user" && d.Variant != "userdebug":
		return fmt.Errorf("variant is %q, want user or userdebug", d.Variant)
	case d.BuildTime <= 0:
		return errors.New("build_time is not set")
	case d.MaxMetadataAge <= 0:
		return errors.New("max_metadata_age is not set")
	}
	if err := d.Apps.check(); err != nil {
		return fmt.Errorf("apps: %v", err)
	}
	for _, r := range d.Repository {
		u, err := url.Parse(r)
		if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			return fmt.Errorf("repository %q is not an http or https address", r)
		}
	}
	for _, r := range d.Regions {
		if err := CheckRegion(r); err != nil {
			return err
		}
	}
	for _, h := range d.Health {
		if err := h.check(); err != nil {
			return fmt.Errorf("health check %q: %v", h.Name, err)
		}
	}
	return nil
}

func (a *Apps) check() error {
	switch {
	case a.Interval < 0 || a.Budget < 0 || a.Period < 0 || a.Density < 0:
		return errors.New("interval, budget, period or density is below 0")
	case a.Track != "" && a.Track != "internal" && a.Track != "beta" && a.Track != "production":
		return fmt.Errorf("track is %q, want internal, beta or production", a.Track)
	}
	return nil
}

func (h *HealthCheck) check() error {
	set := 0
	for _, is := range []bool{h.Service != "", h.Property != "", h.HTTP != "", len(h.Exec) > 0} {
		if is {
			set++
		}
	}
	switch {
	case h.Name == "":
		return errors.New("has no name")
	case set != 1:
		return errors.New("want exactly one of service, property, http and exec")
	case h.Timeout <= 0 || h.Timeout > int64(time.Hour/time.Second):
		return fmt.Errorf("timeout is %d s, want 1 to 3600", h.Timeout)
	}
	return nil
}

// SDK is the version of Android's APIs that a device of base core claims, for
// an app's minSdkVersion and for choosing signature schemes.
const SDK = 34
