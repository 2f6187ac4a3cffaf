package queue

// SettlingForms returns the text of a settling statement with every kind of
// grounds.
func SettlingForms(name string) []string {
	text, first := settlingText(name)
	return []string{ground(text, first, basisHolds), ground(text, first, offerHolds), ground(text, first, basisHolds, offerHolds)}
}
