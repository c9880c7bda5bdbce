package config

type rawOverlay struct{ name string }
