package app

// ProtocolElement is one thing that the root DSE advertises, or that is served without being advertised.
type ProtocolElement struct {
	Kind   ProtocolKind
	OID    string // of a SASL mechanism its name
	Name   string
	Source string // the document that defines it
	// Advertised says that the root DSE lists it.
	Advertised bool
}

// ProtocolKind is the attribute of the root DSE that lists an element.
type ProtocolKind string

// Kinds.
const (
	ControlElement   ProtocolKind = "supportedControl"
	ExtendedElement  ProtocolKind = "supportedExtension"
	MechanismElement ProtocolKind = "supportedSASLMechanisms"
	FeatureElement   ProtocolKind = "supportedFeatures"
)

// Protocol lists what is wired, for documentation. What is served on the control socket alone is left out.
func (d *Directory) Protocol() []ProtocolElement {
	var out []ProtocolElement
	controls, verbs, sasl := d.Engine.Wired()
	for _, c := range controls {
		out = append(out, ProtocolElement{ControlElement, c.OID, c.Name, c.Source, !c.Unadvertised})
	}
	out = append(out, ProtocolElement{ExtendedElement, startTLS, "StartTLS", "RFC 4511", true})
	for _, v := range verbs {
		if !v.ControlOnly {
			out = append(out, ProtocolElement{ExtendedElement, v.OID, v.Name, v.Source, true})
		}
	}
	for _, m := range sasl {
		out = append(out, ProtocolElement{MechanismElement, m.Name, m.Name, m.Source, true})
	}
	for _, f := range features {
		out = append(out, ProtocolElement{FeatureElement, f.oid, f.name, f.source, true})
	}
	return out
}
