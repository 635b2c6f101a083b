package fdroid

import (
	"maps"
	"slices"
	"strconv"
)

// formatVersion is the version of fdroidserver's metadata that the indexes
// follow, which they name.
const formatVersion = 30000

// repoV2 returns the value of "repo" in index-v2. categories are those that apps
// are in: others are left out, and those that the configuration does not know
// have their own name.
func (c *Config) repoV2(icon *File, millis int64, categories map[string]bool) []byte {
	e := &encoder{b: []byte{'{'}}
	e.text("name", c.Name, line)
	e.text("description", c.Description, text)
	if icon != nil {
		e.images("icon", Images{DefaultLocale: *icon})
	}
	e.str("address", c.Address)
	e.str("webBaseUrl", c.WebBase)
	if len(c.Mirrors) > 0 {
		e.open("mirrors", '[')
		e.b = append(e.b, `{"isPrimary":true`...)
		e.str("url", c.Address)
		e.close('}')
		for _, m := range c.mirrors() {
			e.sep()
			e.b = append(e.b, '{')
			e.str("url", m)
			e.close('}')
		}
		e.close(']')
	}
	e.field("timestamp")
	e.b = strconv.AppendInt(e.b, millis, 10)
	e.groups("antiFeatures", c.AntiFeatures)
	used := map[string]Group{}
	for name := range categories {
		used[name] = c.Categories[name]
		if used[name].Name.empty() {
			used[name] = Group{Name: Text{DefaultLocale: name}, Description: used[name].Description, Icon: used[name].Icon}
		}
	}
	e.groups("categories", used)
	e.groups("releaseChannels", c.Channels)
	if len(c.Install)+len(c.Uninstall) > 0 {
		e.open("requests", '{')
		e.requests(c)
		e.close('}')
	}
	e.close('}')
	return e.b
}

// mirrors are those that are not the address itself.
func (c *Config) mirrors() []string {
	return slices.DeleteFunc(slices.Clone(c.Mirrors), func(m string) bool { return m == c.Address })
}

func (e *encoder) groups(name string, groups map[string]Group) {
	if len(groups) == 0 {
		return
	}
	e.open(name, '{')
	for _, id := range keys(groups) {
		g := groups[id]
		e.open(id, '{')
		e.images("icon", g.Icon)
		e.text("name", g.Name, line)
		e.text("description", g.Description, text)
		e.close('}')
	}
	e.close('}')
}

// requests appends both lists, also empty ones.
func (e *encoder) requests(c *Config) {
	for _, l := range []struct {
		name     string
		packages []string
	}{{"install", c.Install}, {"uninstall", c.Uninstall}} {
		e.open(l.name, '[')
		for _, p := range l.packages {
			e.sep()
			e.quote(p)
		}
		e.close(']')
	}
}

// headV1 returns index-v1.json up to its apps. Clients want the parts in this
// order.
func (c *Config) headV1(icon *File, millis int64) []byte {
	e := &encoder{b: []byte(`{"repo":{`)}
	e.field("timestamp")
	e.b = strconv.AppendInt(e.b, millis, 10)
	e.num("version", formatVersion)
	e.field("name")
	e.quote(line.clean(c.Name.plain()))
	e.field("icon")
	if icon == nil {
		e.quote("")
	} else {
		e.quote(icon.Name[len(iconFolder):])
	}
	e.field("address")
	e.quote(c.Address)
	e.field("description")
	e.quote(text.clean(c.Description.plain()))
	e.list("mirrors", c.mirrors())
	e.close('}')
	e.open("requests", '{')
	e.requests(c)
	e.close('}')
	e.open("apps", '[')
	return e.b
}

// plain is the text for those who know no locales.
func (t Text) plain() string {
	if s, ok := t[DefaultLocale]; ok || len(t) == 0 {
		return s
	}
	return t[slices.Min(slices.Collect(maps.Keys(t)))]
}

// What stands in index-v1.json behind its apps, and at its end.
const (
	packagesV1 = `],"packages":{`
	tailV1     = `}}`
)

// entryJSON returns entry.json, which names the index and the ways to it.
func entryJSON(r *record, diffs []diffFile) []byte {
	e := &encoder{b: []byte{'{'}}
	e.num("timestamp", r.Time)
	e.num("version", formatVersion)
	e.field("index")
	e.counted(r.Index, r.Packages)
	e.open("diffs", '{')
	for _, d := range diffs {
		e.field(strconv.FormatInt(d.from, 10))
		e.counted(d.file, d.packages)
	}
	e.close('}')
	e.close('}')
	return e.b
}

// counted appends a file and how many packages it has.
func (e *encoder) counted(f File, packages int) {
	e.file(f)
	e.b = e.b[:len(e.b)-1]
	e.field("numPackages")
	e.b = strconv.AppendInt(e.b, int64(packages), 10)
	e.close('}')
}
