package ota

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"

	"mios"
	api "mios/api/repo"
	"mios/publish/repo"
	"mios/storage/tree"
)

// ViewSettings say how a product's releases are shown to updaters that do not
// know this repository. They are kept with the views, for the next time.
type ViewSettings struct {
	// BaseURL is where the public tree is served: LineageOS's updater wants
	// whole addresses. Without one there is no view for it.
	BaseURL string `json:"base_url,omitempty"`
	// ROMType is compared with ro.lineage.releasetype; "" stands for the
	// channel.
	ROMType string `json:"romtype,omitempty"`
	// Version is compared with ro.lineage.build.version; "" stands for the
	// Android version in the package's fingerprint.
	Version string `json:"version,omitempty"`
	// AnyRegion shows releases that are for some regions only, too: those who
	// read the views are all there.
	AnyRegion bool `json:"any_region,omitempty"`
}

// Check says what is wrong with the settings.
func (s *ViewSettings) Check() error {
	if s.BaseURL != "" {
		u, err := url.Parse(s.BaseURL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
			return fmt.Errorf("address %q: %w: want https://HOST/PATH, where the repository's public folder is", s.BaseURL, mios.ErrInvalid)
		}
	}
	return nil
}

// Names of files in the folder of the views.
const (
	viewsFolder  = "updaters"
	recordFolder = "zips"
	settingsFile = "settings.json"
	zipExt       = ".zip"
	viewExt      = ".json"
)

// maxView is the longest file beside the packages, in bytes.
const maxView = 4 << 20

// ViewsDir is the folder of the tree with the packages of a product's releases
// and the pointers to the newest: what an updater is given as its address.
func ViewsDir(product string, arch mios.Arch) string {
	return path.Join("os", product, string(arch), viewsFolder)
}

// A record is what is known of a package that is published.
type record struct {
	File        string      `json:"file"`
	Size        int64       `json:"size"`   // bytes
	SHA256      mios.Digest `json:"sha256"` // of the whole file
	Release     mios.Digest `json:"release"`
	Device      string      `json:"device"`
	Incremental string      `json:"incremental"`
	From        string      `json:"from,omitempty"` // the incremental that it is made from; "" is a full one
	Timestamp   int64       `json:"timestamp"`
	Android     string      `json:"android,omitempty"` // version, of the fingerprint
}

// A View is a pointer that existing updaters read.
type View struct {
	Name    string `json:"name"` // in the tree
	Content string `json:"content"`
}

// UpdateViews writes anew what updaters of GrapheneOS and LineageOS read, as the
// rollout is now, and returns the views that have changed. It is called after
// every change of a rollout; if it is killed, calling it again is enough.
func UpdateViews(ctx context.Context, r *repo.Repo) (changed []View, err error) {
	err = r.Beside(ctx, func(s *repo.Status) error {
		changed, err = updateViews(ctx, r.Tree(), s.Releases)
		return err
	})
	return changed, err
}

func updateViews(ctx context.Context, t tree.Tree, rels []api.OSRelease) (changed []View, err error) {
	byDir := map[string][]api.OSRelease{}
	for _, rel := range rels {
		dir := ViewsDir(rel.Product, rel.Arch)
		byDir[dir] = append(byDir[dir], rel)
	}
	for _, dir := range slices.Sorted(maps.Keys(byDir)) {
		list, err := updateDir(ctx, t, dir, byDir[dir])
		changed = append(changed, list...)
		if err != nil {
			return changed, fmt.Errorf("views in %s: %w", dir, err)
		}
	}
	return changed, nil
}

func updateDir(ctx context.Context, t tree.Tree, dir string, rels []api.OSRelease) (changed []View, err error) {
	names, err := t.List(ctx, dir)
	if err != nil || len(names) == 0 {
		return nil, err
	}
	v := views{dir: dir, rels: rels, channels: map[[2]string]bool{}}
	if err := v.read(ctx, t, names); err != nil {
		return nil, err
	}
	want, err := v.files()
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		moved, err := point(ctx, t, name, want[name])
		if err != nil {
			return changed, err
		}
		if moved {
			changed = append(changed, View{Name: name, Content: string(want[name])})
		}
	}
	return changed, nil
}

// point moves a pointer, unless it holds b already.
func point(ctx context.Context, t tree.Tree, name string, b []byte) (moved bool, err error) {
	old, err := tree.ReadAll(ctx, t, name, maxView)
	if errors.Is(err, mios.ErrNotFound) {
		old, err = nil, nil
	}
	if err != nil || old != nil && bytes.Equal(old, b) {
		return false, err
	}
	return true, t.Point(ctx, name, old, b)
}

// views is what the views of one folder are made from.
type views struct {
	dir      string
	rels     []api.OSRelease
	records  []record // newest first
	set      ViewSettings
	channels map[[2]string]bool // device and channel of each view
}

// read reads the records and the settings, and which views there are.
func (v *views) read(ctx context.Context, t tree.Tree, names []string) error {
	for _, name := range names {
		switch folder, file := path.Split(strings.TrimPrefix(name, v.dir+"/")); {
		case folder == recordFolder+"/":
			var rec record
			if err := readJSON(ctx, t, name, &rec); err != nil {
				return err
			}
			v.records = append(v.records, rec)
		case folder != "" || path.Ext(file) == zipExt:
		case file == settingsFile:
			if err := readJSON(ctx, t, name, &v.set); err != nil {
				return err
			}
		default: // also views of channels that no release is in any more
			file = strings.TrimSuffix(file, viewExt)
			if i := strings.LastIndexByte(file, '-'); i > 0 {
				v.channels[[2]string{file[:i], file[i+1:]}] = true
			}
		}
	}
	slices.SortFunc(v.records, func(a, b record) int {
		return cmp.Or(cmp.Compare(b.Timestamp, a.Timestamp), cmp.Compare(b.Incremental, a.Incremental), cmp.Compare(b.File, a.File))
	})
	for _, rec := range v.records {
		if rel := v.release(rec); rel != nil {
			for _, c := range rel.Channels {
				v.channels[[2]string{rec.Device, c}] = true
			}
		}
	}
	return nil
}

func (v *views) release(rec record) *api.OSRelease {
	i := slices.IndexFunc(v.rels, func(r api.OSRelease) bool { return r.Target.SHA256 == rec.Release })
	if i < 0 {
		return nil
	}
	return &v.rels[i]
}

// shown returns the full packages of the releases that every device of a
// channel is offered, newest first. An updater that knows no shares is shown
// nothing less.
func (v *views) shown(device, channel string) (out []record) {
	for _, rec := range v.records {
		rel := v.release(rec)
		if rel == nil || rec.From != "" || rec.Device != device || !slices.Contains(rel.Channels, channel) {
			continue
		}
		if rel.Share == api.Everyone && !rel.Halted && !rel.Withdrawn && (v.set.AnyRegion || len(rel.Regions) == 0) {
			out = append(out, rec)
		}
	}
	return out
}

// files returns what the pointers must hold.
func (v *views) files() (map[string][]byte, error) {
	out := map[string][]byte{}
	for c := range v.channels {
		device, channel := c[0], c[1]
		name, shown := path.Join(v.dir, device+"-"+channel), v.shown(device, channel)
		out[name] = grapheneOS(device, channel, shown)
		if v.set.BaseURL == "" {
			continue
		}
		var err error
		if out[name+viewExt], err = v.lineageOS(channel, shown); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// grapheneOS returns the line that GrapheneOS's updater reads: the newest
// release's incremental and build time, the device and the channel. Where there
// is none the build time is 0, which no device is older than.
func grapheneOS(device, channel string, shown []record) []byte {
	newest := record{Incremental: "none"}
	if len(shown) > 0 {
		newest = shown[0]
	}
	return fmt.Appendf(nil, "%s %d %s %s\n", newest.Incremental, newest.Timestamp, device, channel)
}

// lineageOS returns the JSON that LineageOS's updater reads.
func (v *views) lineageOS(channel string, shown []record) ([]byte, error) {
	type update struct {
		Datetime int64       `json:"datetime"`
		Filename string      `json:"filename"`
		ID       mios.Digest `json:"id"`
		ROMType  string      `json:"romtype"`
		Size     int64       `json:"size"`
		URL      string      `json:"url"`
		Version  string      `json:"version"`
	}
	list := []update{}
	for _, rec := range shown {
		whole, err := url.JoinPath(v.set.BaseURL, v.dir, rec.File)
		if err != nil {
			return nil, err
		}
		list = append(list, update{
			Datetime: rec.Timestamp, Filename: rec.File, ID: rec.SHA256, Size: rec.Size, URL: whole,
			ROMType: cmp.Or(v.set.ROMType, channel), Version: cmp.Or(v.set.Version, rec.Android),
		})
	}
	b, err := json.MarshalIndent(map[string]any{"response": list}, "", "  ")
	return append(b, '\n'), err
}

func readJSON(ctx context.Context, t tree.Tree, name string, v any) error {
	b, err := tree.ReadAll(ctx, t, name, maxView)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: %v: %w", name, err, mios.ErrInvalid)
	}
	return nil
}
