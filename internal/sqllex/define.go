package sqllex

// compound are the objects that take more than one word.
var compound = [][]string{
	{"MATERIALIZED", "VIEW"},
	{"FOREIGN", "TABLE"},
	{"FOREIGN", "DATA", "WRAPPER"},
	{"TEXT", "SEARCH", "CONFIGURATION"},
	{"TEXT", "SEARCH", "DICTIONARY"},
	{"TEXT", "SEARCH", "PARSER"},
	{"TEXT", "SEARCH", "TEMPLATE"},
	{"OPERATOR", "CLASS"},
	{"OPERATOR", "FAMILY"},
	{"ACCESS", "METHOD"},
	{"EVENT", "TRIGGER"},
	{"USER", "MAPPING"},
	{"DEFAULT", "PRIVILEGES"},
	{"LARGE", "OBJECT"},
	{"PROCEDURAL", "LANGUAGE"},
}

// object takes the words that say what a statement is about.
func object(c *cursor) string {
	for _, words := range compound {
		if c.is(words...) {
			text := c.upper()
			for range words[1:] {
				text += " " + c.upper()
			}
			return text
		}
	}
	if c.peek(0).Kind != Word {
		return ""
	}
	return c.upper()
}

func classifyCreate(c *cursor, info *Info) {
	info.Kind = CreateOther
	info.OrReplace = c.skip("OR", "REPLACE")
	for {
		switch {
		case c.skip("TEMP"), c.skip("TEMPORARY"):
			info.Temporary = true
			continue
		case c.skip("UNIQUE"):
			info.Index.Unique = true
			continue
		case c.skip("LOCAL"), c.skip("GLOBAL"), c.skip("UNLOGGED"), c.skip("RECURSIVE"), c.skip("TRUSTED"):
			continue
		case c.is("CONSTRAINT", "TRIGGER"), c.is("DEFAULT", "CONVERSION"):
			c.take()
			continue
		}
		break
	}
	info.Object = object(c)
	switch info.Object {
	case "INDEX":
		classifyCreateIndex(c, info)
		return
	case "CAST", "OPERATOR", "TRANSFORM", "USER MAPPING":
		return // they have no name of their own
	}
	info.IfNotExists = c.skip("IF", "NOT", "EXISTS")
	c.skip("AUTHORIZATION") // CREATE SCHEMA AUTHORIZATION role: the role's name
	if !c.is("ON") {
		info.Name = c.name()
	}
	switch info.Object {
	case "TABLE":
		info.Kind = CreateTable
		if skipTo(c, "AS") {
			info.Kind = CreateTableAs
		}
	case "TRIGGER", "POLICY":
		if skipTo(c, "ON") {
			info.Table = c.name()
		}
	case "RULE":
		if skipTo(c, "TO") {
			info.Table = c.name()
		}
	case "DATABASE", "TABLESPACE":
		info.alone = true
	case "SUBSCRIPTION":
		// Only making the slot on the publisher is what cannot be undone.
		info.alone = !hasOptionOff(c, "create_slot", "connect")
	}
}

// skipTo takes tokens up to and with the word, outside of parentheses.
func skipTo(c *cursor, word string) bool {
	for depth := 0; !c.atEnd(); {
		tok := c.take()
		depth += parens(c.src, tok)
		if depth == 0 && tok.Is(c.src, word) {
			return true
		}
	}
	return false
}

// hasOptionOff reports whether one of the options is set to false in the rest
// of the statement.
func hasOptionOff(c *cursor, options ...string) bool {
	for !c.atEnd() {
		tok := c.take()
		for _, o := range options {
			if tok.Is(c.src, o) && c.peek(0).Kind == Operator && isOff(c.src, c.peek(1)) {
				return true
			}
		}
	}
	return false
}

func classifyCreateIndex(c *cursor, info *Info) {
	info.Kind = CreateIndex
	info.ModeAt = c.last.End
	mode(c, info, true)
	info.alone = info.Concurrently
	info.IfNotExists = c.skip("IF", "NOT", "EXISTS")
	if !c.is("ON") {
		info.Name = c.name()
	}
	if !c.skip("ON") {
		return
	}
	info.Index.Only = c.skip("ONLY")
	info.Table = c.name()
	if c.is("USING") {
		start := c.take().Start
		info.Index.Method = c.ident()
		info.Index.Using = Span{start, c.last.End}
	}
	info.Index.Partial = skipTo(c, "WHERE")
}

func classifyDrop(c *cursor, info *Info) {
	if c.skip("OWNED") {
		info.Kind = DropOwned
		return
	}
	info.Kind = DropOther
	info.Object = object(c)
	switch info.Object {
	case "TABLE":
		info.Kind = DropTable
	case "INDEX":
		info.Kind = DropIndex
		info.ModeAt = c.last.End
		mode(c, info, false)
		info.alone = info.Concurrently
	case "DATABASE", "TABLESPACE", "SUBSCRIPTION":
		info.alone = true
	}
	info.IfExists = c.skip("IF", "EXISTS")
	switch info.Object {
	case "CAST", "OPERATOR", "TRANSFORM", "USER MAPPING":
	default:
		nameList(c, info)
	}
	if c.skip("ON") {
		info.Table = c.name()
	}
	info.Cascade = skipTo(c, "CASCADE")
}

func classifyAlter(c *cursor, info *Info) {
	info.Kind = AlterOther
	info.Object = object(c)
	switch {
	case c.is("ALL", "IN", "TABLESPACE"), info.Object == "DEFAULT PRIVILEGES",
		info.Object == "OPERATOR", info.Object == "USER MAPPING":
		return
	case info.Object == "SYSTEM":
		info.alone = true
		return
	case info.Object == "TABLE":
		classifyAlterTable(c, info)
		return
	}
	info.IfExists = c.skip("IF", "EXISTS")
	info.Name = c.name()
	switch info.Object {
	case "DATABASE":
		info.alone = c.is("SET", "TABLESPACE")
	case "SUBSCRIPTION":
		if c.skip("REFRESH", "PUBLICATION") {
			info.alone = true
		} else if c.isOneOf("ADD", "DROP", "SET") && c.peek(1).Is(c.src, "PUBLICATION") {
			info.alone = !hasOptionOff(c, "refresh")
		}
	}
}

// actionVerbs are the words that an ALTER TABLE action begins with.
var actionVerbs = []string{
	"ADD", "DROP", "ALTER", "VALIDATE", "RENAME", "SET", "RESET", "OWNER", "ENABLE", "DISABLE",
	"ATTACH", "DETACH", "CLUSTER", "INHERIT", "NO", "OF", "NOT", "REPLICA", "FORCE",
}

func classifyAlterTable(c *cursor, info *Info) {
	info.Kind = AlterTable
	info.ModeAt = c.last.End
	// A table may be called async: then an action, or the name's second part,
	// follows.
	if c.is("ASYNC") && isIdent(c.peek(1)) && !isActionVerb(c.src, c.peek(1)) {
		mode(c, info, true)
	}
	info.IfExists = c.skip("IF", "EXISTS")
	c.skip("ONLY")
	info.Name = c.name()
	if t := c.peek(0); t.Kind == Operator && t.Text(c.src) == "*" {
		c.take()
	}
	for !c.atEnd() {
		a := action(c)
		if a.Concurrently {
			info.Concurrently, info.alone = true, true
		}
		info.Actions = append(info.Actions, a)
		if c.isPunct(",") {
			c.take()
		}
	}
}

func isActionVerb(src string, t Token) bool {
	for _, w := range actionVerbs {
		if t.Is(src, w) {
			return true
		}
	}
	return false
}

// action takes one action, up to the comma or the end.
func action(c *cursor) Action {
	a := Action{Span: Span{Start: c.peek(0).Start}}
	switch {
	case c.skip("ADD"):
		addAction(c, &a)
	case c.skip("DROP"):
		if a.Kind = DropColumn; c.skip("CONSTRAINT") {
			a.Kind = DropConstraint
		} else {
			c.skip("COLUMN")
		}
		a.IfExists = c.skip("IF", "EXISTS")
		a.Name = c.ident()
	case c.skip("ALTER"):
		alterAction(c, &a)
	case c.skip("VALIDATE", "CONSTRAINT"):
		a.Kind, a.Name = ValidateConstraint, c.ident()
	case c.skip("RENAME", "TO"):
		a.Kind, a.Name = RenameTable, c.ident()
	case c.skip("RENAME"):
		if a.Kind = RenameColumn; c.skip("CONSTRAINT") {
			a.Kind = RenameConstraint
		} else {
			c.skip("COLUMN")
		}
		a.Name = c.ident()
		if c.skip("TO") {
			a.NewName = c.ident()
		}
	case c.skip("SET", "SCHEMA"):
		a.Kind, a.Name = SetSchema, c.ident()
	case c.skip("OWNER", "TO"):
		a.Kind, a.Name = OwnerTo, c.ident()
	case c.skip("ATTACH", "PARTITION"):
		a.Kind, a.Name = AttachPartition, c.name().Name
	case c.skip("DETACH", "PARTITION"):
		a.Kind, a.Name = DetachPartition, c.name().Name
		a.Concurrently = c.skip("CONCURRENTLY")
	}
	restOfAction(c, &a)
	return a
}

func addAction(c *cursor, a *Action) {
	second := c.peek(1)
	switch {
	case c.skip("CONSTRAINT"):
		a.Kind, a.Name = AddConstraint, c.ident()
	case c.isOneOf("PRIMARY", "UNIQUE", "CHECK", "FOREIGN"), c.is("NOT", "NULL"),
		c.is("EXCLUDE") && (second.IsPunct(c.src, "(") || second.Is(c.src, "USING")):
		a.Kind = AddConstraint
	default:
		a.Kind = AddColumn
		c.skip("COLUMN")
		a.IfNotExists = c.skip("IF", "NOT", "EXISTS")
		a.Name = c.ident()
	}
}

func alterAction(c *cursor, a *Action) {
	if c.skip("CONSTRAINT") {
		a.Kind, a.Name = AlterConstraint, c.ident()
		return
	}
	c.skip("COLUMN")
	a.Name = c.ident()
	switch {
	case c.is("TYPE"), c.is("SET", "DATA", "TYPE"):
		a.Kind = AlterColumnType
	case c.is("SET", "DEFAULT"):
		a.Kind = SetDefault
	case c.is("DROP", "DEFAULT"):
		a.Kind = DropDefault
	case c.is("SET", "NOT", "NULL"):
		a.Kind = SetNotNull
	case c.is("DROP", "NOT", "NULL"):
		a.Kind = DropNotNull
	default:
		a.Kind = AlterColumn
	}
}

// restOfAction takes what is left of an action.
func restOfAction(c *cursor, a *Action) {
	for depth := 0; !c.atEnd() && (depth > 0 || !c.isPunct(",")); {
		tok := c.take()
		depth += parens(c.src, tok) + brackets(c.src, tok)
		if a.Kind == AddConstraint && depth == 0 && tok.Is(c.src, "NOT") && c.is("VALID") {
			a.NotValid = true
		}
	}
	a.Span.End = max(a.Span.Start, c.last.End)
}
