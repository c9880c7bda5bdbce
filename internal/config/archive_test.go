package config

import "strings"

// archive is a text of the txtar form: a comment, then files, each behind a line "-- name --".
type archive struct {
	comment string
	files   []archived
}

type archived struct{ name, data string }

func parseArchive(text string) archive {
	var a archive
	for line := range strings.Lines(text) {
		name := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(name, "-- ") && strings.HasSuffix(name, " --") && len(name) > 6:
			a.files = append(a.files, archived{name: name[3 : len(name)-3]})
		case len(a.files) == 0:
			a.comment += line
		default:
			a.files[len(a.files)-1].data += line
		}
	}
	return a
}

func (a archive) String() string {
	var b strings.Builder
	b.WriteString(a.comment)
	for _, f := range a.files {
		b.WriteString("-- " + f.name + " --\n" + f.data)
	}
	return b.String()
}
