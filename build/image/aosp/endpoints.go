package aosp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"mios"
	"mios/format/apex"
	"mios/format/apk"
	"mios/format/targetfiles"
)

// A Setting says how an endpoint of the product is set.
type Setting struct {
	Endpoint string `json:"endpoint"` // as in the definition: "captive_portal.http"
	How      string `json:"how"`      // overlay, property or file
	Where    string `json:"where"`    // package, or file on a device
	Name     string `json:"name"`     // of the resource, property or key
}

func (b *builder) applied(endpoint, how, where, name string) {
	b.out.Endpoints = append(b.out.Endpoints, Setting{endpoint, how, where, name})
}

// A knob is a resource of AOSP that says where a device asks.
type knob struct {
	endpoint string
	target   string   // whose resource it is: "android", "networkstack"
	names    []string // the first that the build has is set: "array/config_ntpServers"
	values   []string // none: it is not set
	// also is set too where the build has it: a list that goes before the names.
	also string
	// optional is a knob without which the endpoint is set all the same.
	optional bool
}

// The packages with knobs.
const (
	frameworkTarget    = "android"
	networkStackTarget = "networkstack"
	connectivityTarget = "connectivity" // in the APEX com.android.tethering
)

// knobs are the endpoints that are resources (frameworks/base core/res,
// packages/modules/NetworkStack res/values/config.xml, packages/modules/Connectivity
// service/ServiceConnectivityResources).
func (b *builder) knobs() []knob {
	e := &b.Product.Endpoints
	one := func(s string) []string {
		if s == "" {
			return nil
		}
		return []string{s}
	}
	return []knob{
		{"captive_portal.http", networkStackTarget, []string{"string/config_captive_portal_http_url"}, one(e.CaptivePortal.HTTP), "array/config_captive_portal_http_urls", false},
		{"captive_portal.https", networkStackTarget, []string{"string/config_captive_portal_https_url"}, one(e.CaptivePortal.HTTPS), "array/config_captive_portal_https_urls", false},
		{"captive_portal.fallback", networkStackTarget, []string{"array/config_captive_portal_fallback_urls"}, e.CaptivePortal.Fallback, "", false},
		{"captive_portal.http", connectivityTarget, []string{"string/config_networkCaptivePortalServerUrl"}, one(e.CaptivePortal.HTTP), "", true},
		{"dns", networkStackTarget, []string{"array/config_default_dns_servers"}, e.DNS, "", false},
		{"ntp", frameworkTarget, []string{"array/config_ntpServers", "string/config_ntpServer"}, e.NTP, "", false},
		{"attestation_revocation", frameworkTarget, []string{"string/vendor_required_attestation_revocation_list_url"}, one(e.Revocation), "", false},
	}
}

// endpoints sets the product's endpoints in what AOSP lets a product set without
// its source: resources by overlays, files of the positioning, and properties
// (see branding).
func (b *builder) endpoints() error {
	byTarget := map[string][]knob{}
	for _, k := range b.knobs() {
		if len(k.values) > 0 {
			byTarget[k.target] = append(byTarget[k.target], k)
		}
	}
	for _, target := range []string{frameworkTarget, networkStackTarget, connectivityTarget} {
		if len(byTarget[target]) == 0 {
			continue
		}
		if err := b.overlays(target, byTarget[target]); err != nil {
			return err
		}
	}
	return b.positioning()
}

// A target is a package of the build whose resources can be set.
type target struct {
	pkg string
	res *apk.Resources
}

// targets returns the packages that knobs are in: there may be several network
// stacks, of which a device has one running.
func (b *builder) targets(name string) (list []target, err error) {
	if name == connectivityTarget {
		return b.apexTargets()
	}
	for _, file := range b.src.names {
		base := path.Base(file)
		switch {
		case !strings.HasSuffix(base, ".apk") || strings.Contains(file, "/overlay/") || b.gone(file):
			continue
		case name == frameworkTarget && base != "framework-res.apk", name == networkStackTarget && !strings.Contains(base, "NetworkStack"):
			continue
		}
		t, err := b.target(file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if name == frameworkTarget || strings.HasSuffix(t.pkg, ".networkstack") || strings.HasSuffix(t.pkg, ".networkstack.inprocess") {
			if t.res != nil {
				list = append(list, t)
			}
		}
	}
	return list, nil
}

// maxTarget is the largest package that is read for its resources, in bytes.
const maxTarget = 1 << 30

func (b *builder) target(name string) (target, error) {
	data, err := b.src.readAll(name, maxTarget)
	if err != nil {
		return target{}, err
	}
	return readTarget(bytes.NewReader(data), int64(len(data)))
}

// readTarget reads the package in the first size bytes of r.
func readTarget(r io.ReaderAt, size int64) (target, error) {
	f, err := apk.Open(r, size)
	if err != nil {
		return target{}, err
	}
	info, err := f.Info()
	if err != nil {
		return target{}, err
	}
	res, err := f.Resources()
	if errors.Is(err, mios.ErrNotFound) {
		return target{pkg: info.Package}, nil
	}
	return target{info.Package, res}, err
}

// apexTargets returns the packages with the resources of connectivity, which are
// in the APEX of tethering.
func (b *builder) apexTargets() (list []target, err error) {
	for _, name := range b.src.names {
		if !targetfiles.IsApex(name) || !strings.Contains(path.Base(name), "tethering") || b.gone(name) {
			continue
		}
		found, err := b.apexTarget(name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		list = append(list, found...)
	}
	return list, nil
}

func (b *builder) apexTarget(name string) (list []target, err error) {
	data, err := b.src.readAll(name, maxTarget)
	if err != nil {
		return nil, err
	}
	f, err := apex.Open(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	if f.Compressed {
		r, err := f.Original()
		if err != nil {
			return nil, err
		}
		defer r.Close()
		if data, err = io.ReadAll(io.LimitReader(r, maxTarget)); err != nil {
			return nil, err
		}
		if f, err = apex.Open(bytes.NewReader(data), int64(len(data))); err != nil {
			return nil, err
		}
	}
	p, err := f.Payload()
	if err != nil {
		return nil, err
	}
	fs, err := p.FS()
	if err != nil {
		return nil, err
	}
	apps, err := fs.Apps()
	if err != nil {
		return nil, err
	}
	for _, a := range apps {
		if !strings.Contains(path.Base(a.Path), "ConnectivityResources") {
			continue
		}
		t, err := readTarget(fs.Data(a.Node), a.Size)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", a.Path, err)
		}
		if t.res != nil {
			list = append(list, t)
		}
	}
	return list, nil
}

// overlays adds an overlay for each package of a target.
func (b *builder) overlays(name string, knobs []knob) error {
	targets, err := b.targets(name)
	if err != nil {
		return err
	}
	set := map[string]bool{}
	for _, t := range targets {
		o := &overlaying{target: t}
		for _, k := range knobs {
			done, err := o.set(k, k.names)
			if err != nil {
				return err
			}
			if done && k.also != "" {
				_, err = o.set(k, []string{k.also})
			}
			if err != nil {
				return err
			}
			set[k.endpoint] = set[k.endpoint] || done
		}
		if len(o.list) == 0 {
			continue
		}
		for i, r := range o.list {
			b.applied(o.endpoints[i], "overlay", t.pkg, r.Type+"/"+r.Name)
		}
		if err := b.overlay(t.pkg, o.name, o.list); err != nil {
			return err
		}
	}
	for _, k := range knobs {
		if !set[k.endpoint] && !k.optional {
			return fmt.Errorf("endpoints.%s: %w: this build of AOSP has no resource %s that may be overlaid: leave it out, and build AOSP with it in its source", k.endpoint, mios.ErrNotFound, strings.Join(k.names, " or "))
		}
	}
	return nil
}

// An overlaying is an overlay that is being put together.
type overlaying struct {
	target
	name      string // of the set of resources that it overlays; "" where the target has no sets
	list      []apk.NewResource
	endpoints []string // of each in list
}

// set adds the first of a knob's resources that the target has and lets others
// overlay.
func (o *overlaying) set(k knob, names []string) (done bool, err error) {
	sets, err := o.res.Overlayables()
	if err != nil {
		return false, err
	}
	for _, name := range names {
		id, err := o.res.Find(name)
		if errors.Is(err, mios.ErrNotFound) {
			continue
		}
		if err != nil {
			return false, err
		}
		set, ok := setOf(sets, id)
		if !ok {
			continue
		}
		if o.name != "" && o.name != set {
			return false, fmt.Errorf("%s: resources of two sets, %s and %s, cannot be in one overlay: %w", o.pkg, o.name, set, errors.ErrUnsupported)
		}
		kind, short, _ := strings.Cut(name, "/")
		r, err := k.resource(apk.NewResource{Type: kind, Name: short})
		if err != nil {
			return false, err
		}
		o.name, o.list, o.endpoints = set, append(o.list, r), append(o.endpoints, k.endpoint)
		return true, nil
	}
	return false, nil
}

// setOf returns the name of the set that says who may overlay a resource. In a
// package with sets, others may not be (idmap2, CheckOverlayable).
func setOf(sets []apk.Overlayable, id apk.ResID) (name string, ok bool) {
	for _, s := range sets {
		for _, p := range s.Policies {
			if slices.Contains(p.IDs, id) {
				return s.Name, true
			}
		}
	}
	return "", len(sets) == 0
}

// resource returns the resource with the knob's values. Before it was a list,
// AOSP's server of time was a host without a scheme.
func (k *knob) resource(r apk.NewResource) (apk.NewResource, error) {
	if r.Type == "array" {
		r.Items = []apk.Value{}
		for _, v := range k.values {
			r.Items = append(r.Items, apk.StringValue(v))
		}
		return r, nil
	}
	if len(k.values) != 1 {
		return r, fmt.Errorf("endpoints.%s: %w: this build of AOSP takes one, not %d: leave the others out", k.endpoint, mios.ErrInvalid, len(k.values))
	}
	r.Value = apk.StringValue(strings.TrimPrefix(k.values[0], "ntp://"))
	return r, nil
}

// positionFiles are the settings of positioning: of the vendor's driver, and
// those that the framework reads (GnssConfiguration.java).
var positionFiles = []struct{ partition, name string }{
	{"vendor", "etc/gps.conf"}, {"vendor", "etc/gps_debug.conf"}, {"system", "etc/gps_debug.conf"},
}

// positioning sets the servers of positioning, in the files that the build has,
// and in the framework's.
func (b *builder) positioning() error {
	e := &b.Product.Endpoints
	var set [][3]string // endpoint, key, value
	if e.SUPL.Host != "" {
		set = append(set, [3]string{"supl", "SUPL_HOST", e.SUPL.Host}, [3]string{"supl", "SUPL_PORT", strconv.Itoa(e.SUPL.Port)})
	}
	if e.GNSSNTP != "" {
		set = append(set, [3]string{"gnss_ntp", "NTP_SERVER", e.GNSSNTP})
	}
	for i, u := range e.PSDS {
		set = append(set, [3]string{"psds", "LONGTERM_PSDS_SERVER_" + strconv.Itoa(i+1), u})
	}
	if len(set) == 0 {
		return nil
	}
	for _, f := range positionFiles {
		old, err := b.read(f.partition, f.name)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, mios.ErrNotFound) {
			if f.partition != "system" {
				continue
			}
		} else if err != nil {
			return err
		}
		data := setConf(old, set)
		if err := b.add(f.partition, f.name, &addition{data: data, replace: true}); err != nil {
			return err
		}
		for _, s := range set {
			b.applied(s[0], "file", "/"+f.partition+"/"+f.name, s[1])
		}
	}
	return nil
}

// setConf changes KEY=VALUE lines, or adds them at the end. Addresses of
// Qualcomm's, XTRA_SERVER_1 to 3, are changed where they are there.
func setConf(old []byte, set [][3]string) []byte {
	lines := strings.SplitAfter(string(old), "\n")
	done := map[string]bool{}
	for i, line := range lines {
		name, _, ok := strings.Cut(line, "=")
		name = strings.TrimSpace(name)
		if !ok || strings.HasPrefix(name, "#") {
			continue
		}
		for _, s := range set {
			if name == s[1] || s[0] == "psds" && name == strings.Replace(s[1], "LONGTERM_PSDS", "XTRA", 1) {
				lines[i] = name + "=" + s[2] + "\n"
				done[name] = true
			}
		}
	}
	out := strings.Join(lines, "")
	if out != "" && !strings.HasSuffix(out, "\n") {
		out += "\n"
	}
	for _, s := range set {
		if !done[s[1]] {
			out += s[1] + "=" + s[2] + "\n"
		}
	}
	return []byte(out)
}
