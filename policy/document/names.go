package document

import (
	"slices"
	"time"
)

// book is a list that is ready for look-ups.
type book struct {
	entries map[string]Entry // by account
	file    string           // digest; empty: none
}

// addNames takes in what rules call things by.
func (x *index) addNames(d *Document) {
	x.groups, x.memberships = map[string]map[string]bool{}, map[string][]string{}
	for _, g := range d.Groups {
		x.groups[g.ID] = map[string]bool{}
		for _, id := range g.Members {
			x.groups[g.ID][id] = true
			x.memberships[id] = append(x.memberships[id], g.ID)
		}
	}
	x.assets, x.byAsset = map[string]Asset{}, map[string]Asset{}
	for _, asset := range d.Assets {
		x.assets[asset.ID], x.byAsset[asset.Asset] = asset, asset
	}
	x.books = map[string]book{}
	for _, l := range d.Lists {
		b := book{entries: make(map[string]Entry, len(l.Entries))}
		for _, e := range l.Entries {
			b.entries[e.Account] = e
		}
		if l.File != nil {
			b.file = l.File.SHA256
		}
		x.books[l.ID] = b
	}
}

// Expired says whether nothing may be decided under the document any more.
func (a *Active) Expired(now time.Time) bool { return !now.Before(a.Expires.Time) }

// GroupsOf returns the groups that a user or approver is a member of, in the
// document's order. The caller does not change it.
func (a *Active) GroupsOf(id string) []string { return a.lookup().memberships[id] }

// Member says whether a user or approver is a member of a group.
func (a *Active) Member(group, id string) bool { return a.lookup().groups[group][id] }

// Asset returns the asset with an id.
func (a *Active) Asset(id string) (Asset, bool) {
	asset, ok := a.lookup().assets[id]
	return asset, ok
}

// AssetOf returns the asset with a CAIP-19 id.
func (a *Active) AssetOf(caip19 string) (Asset, bool) {
	asset, ok := a.lookup().byAsset[caip19]
	return asset, ok
}

// Listed says whether an account, in canonical form, is in a list. Of a list by
// file it needs the file: see Attach.
func (a *Active) Listed(list, account string) bool {
	b := a.lookup().books[list]
	if b.file != "" {
		return a.files.Has(b.file, account)
	}
	_, ok := b.entries[account]
	return ok
}

// Entry returns a list's entry of an account, in canonical form. A list by file
// has no entries of its own.
func (a *Active) Entry(list, account string) (Entry, bool) {
	e, ok := a.lookup().books[list].entries[account]
	return e, ok
}

// expand replaces groups by their members, each id once.
func (d *Document) expand(list []string) (out []string) {
	add := func(id string) {
		if !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	for _, id := range list {
		i := slices.IndexFunc(d.Groups, func(g Group) bool { return g.ID == id })
		if i < 0 {
			add(id)
			continue
		}
		for _, member := range d.Groups[i].Members {
			add(member)
		}
	}
	return out
}

// voters are the approvers who may vote on anything: those of the section
// approval and those of every rule that asks.
func (d *Document) voters() []string {
	all := slices.Clone(d.Approval.Approvers)
	for _, r := range d.Rules.Approval {
		if r.Effect == EffectAsk {
			all = append(all, d.expand(r.Approvers)...)
		}
	}
	return all
}

// Voters returns the ids of the approvers whom a rule asks: its list, with
// groups replaced by their members. An empty list is that of the section
// approval.
func (a *Active) Voters(list []string) []string {
	if len(list) == 0 {
		return slices.Clone(a.Approval.Approvers)
	}
	return a.expand(list)
}
