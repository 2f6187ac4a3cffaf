package message

// This file is the one table of every label, JWS "typ" and HKDF info string
// that Countersign uses. A string that separates domains stands here or
// nowhere; docs/SPEC.md section 2 lists the same table.

// Version is the version of every wire format in this package.
const Version = 1

// Typ is the "typ" header of a JWS and thereby its kind (RFC 8725 section
// 3.11). No two kinds share a typ.
type Typ string

// The kinds of JWS.
const (
	TypHello           Typ = "countersign-hello+jws"
	TypAnnouncement    Typ = "countersign-announcement+jws"
	TypApproval        Typ = "countersign-approval+jws"
	TypResult          Typ = "countersign-result+jws"
	TypVote            Typ = "countersign-vote+jws"
	TypPolicySignature Typ = "countersign-policy-signature+jws"
)

// Salts and infos of HKDF-SHA256 (RFC 5869), contexts of raw signatures and
// MACs.
const (
	// LabelBranch is the salt under which a secret is split into branches.
	LabelBranch = "countersign/v1/branch"
	// LabelKey is the info prefix of a key made from two branches.
	LabelKey = "countersign/v1/key/"
	// LabelHPKE opens the HPKE info of an announcement.
	LabelHPKE = "countersign/v1/hpke"
	// LabelExport is the exporter context of the secret that an announcement
	// agrees on (RFC 9180 section 5.3).
	LabelExport = "countersign/v1/export"
	// LabelSealedShare is the info prefix of the key of one sealed share.
	LabelSealedShare = "countersign/v1/sealed-share"
	// LabelShare is the info prefix of one role's share of one key.
	LabelShare = "countersign/v1/share"
	// LabelSealing is the info prefix of the key that seals a stored seed or
	// account key.
	LabelSealing = "countersign/v1/sealing"
	// LabelIdentity is the context of the identity signature inside an
	// announcement.
	LabelIdentity = "countersign/v1/announcement-identity"
	// LabelRecord is the context of the MAC of one entry of a record chain.
	LabelRecord = "countersign/v1/record"
	// LabelShares is the context of the hash over the sealed shares that an
	// approval names for an epoch.
	LabelShares = "countersign/v1/shares"
	// LabelWebhook is the info prefix of one webhook's signing secret.
	LabelWebhook = "countersign/v1/webhook"
)

// TagStatement is the "tag" parameter of a user's HTTP message signature over
// a statement (RFC 9421 section 2.3).
const TagStatement = "countersign-statement"

// TagApprover is the "tag" parameter of an approver's HTTP message signature
// over a reading request to the approval service.
const TagApprover = "countersign-approver"
