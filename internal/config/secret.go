package config

import (
	"bytes"
	"fmt"
	"io"
	"os"
)

// maxSecret bounds the first line of a secret file, in octets.
const maxSecret = 4096

// ReadSecretFile returns the first line of a file without its line end. warning, where not empty, is one line that says
// that users other than the owner and its group can read or change the file. Neither warning nor err holds any of the
// file's content. An empty first line is an error, so that nobody has an empty password by accident.
func ReadSecretFile(path string) (secret []byte, warning string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, "", fmt.Errorf("the secret cannot be read: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, "", fmt.Errorf("the secret cannot be read: %w", err)
	}
	if info.IsDir() {
		return nil, "", fmt.Errorf("the secret cannot be read: %s is a directory", path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxSecret+2))
	if err != nil {
		return nil, "", fmt.Errorf("the secret cannot be read: %w", err)
	}
	line, _, whole := bytes.Cut(text, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	switch {
	case len(line) > maxSecret, !whole && len(text) > maxSecret+1:
		return nil, "", fmt.Errorf("the first line of %s is longer than %d octets", path, maxSecret)
	case len(line) == 0:
		return nil, "", fmt.Errorf("the first line of %s is empty; write the password, or a hash made by \"portolan passwd\"", path)
	}
	if info.Mode().IsRegular() && info.Mode().Perm()&0o007 != 0 {
		warning = fmt.Sprintf("%s is open to every user of this host; run: chmod 600 %s", path, path)
	}
	return line, warning, nil
}
