package config

import (
	"reflect"
	"slices"
	"strconv"
)

// Diff compares two configurations, for a reload. reloadable lists the keys whose new value can be taken over by a
// running server, needRestart those that it cannot; both by path ("limits.size_limit", "listen[0].allow",
// "overlay.ppolicy") and in the order of the reference. A list of tables that has become longer or shorter is one key
// ("listen").
func Diff(old, new *Config) (reloadable, needRestart []string) {
	ss := sections()
	note := func(path string, reload bool) {
		if reload {
			reloadable = append(reloadable, path)
		} else {
			needRestart = append(needRestart, path)
		}
	}
	diffStruct(reflect.ValueOf(old).Elem(), reflect.ValueOf(new).Elem(), "", func(path string) {
		k := findKey(ss, noIndexes(path))
		if k != nil {
			note(path, k.Reload)
			return
		}
		// A whole list of tables: it can be taken over where all its keys can.
		reload := true
		for i := range ss {
			s := &ss[i]
			if s.Table == noIndexes(path) {
				reload = !slices.ContainsFunc(s.Keys, func(k Key) bool { return !k.Reload })
			}
		}
		note(path, reload)
	})
	for _, o := range old.overlays {
		if i := slices.IndexFunc(new.overlays, func(n rawOverlay) bool { return n.name == o.name }); i < 0 || !new.overlays[i].node.equal(o.node) {
			note("overlay."+o.name, false)
		}
	}
	for _, n := range new.overlays {
		if !slices.ContainsFunc(old.overlays, func(o rawOverlay) bool { return o.name == n.name }) {
			note("overlay."+n.name, false)
		}
	}
	return reloadable, needRestart
}

// diffStruct calls changed with the path of every key whose values differ.
func diffStruct(a, b reflect.Value, path string, changed func(string)) {
	for _, f := range fields(a.Type()) {
		x, y, sub := a.Field(f.index), b.Field(f.index), join(path, f.name)
		switch {
		case x.Kind() == reflect.Struct:
			diffStruct(x, y, sub, changed)
		case isTableList(x.Type()) && x.Len() == y.Len():
			for i := range x.Len() {
				diffStruct(x.Index(i), y.Index(i), sub+"["+strconv.Itoa(i)+"]", changed)
			}
		case isTableList(x.Type()):
			changed(sub)
		case x.Kind() == reflect.Slice && x.Len() == 0 && y.Len() == 0:
			// nil and empty mean the same.
		case !reflect.DeepEqual(x.Interface(), y.Interface()):
			changed(sub)
		}
	}
}
