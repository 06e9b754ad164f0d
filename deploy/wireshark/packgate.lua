-- SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
-- Wireshark dissector for packgate: session frames on UDP and messages on TCP, as docs/protocol.md
-- has them. Put this file and packgate_crypto.lua into the personal Lua plugins folder (Help, About,
-- Folders), or name it with -X lua_script:FILE. With a file of secrets sealed frames are opened.

local here = debug.getinfo(1, "S").source:match("^@(.*[/\\])") or "./"
local crypto = dofile(here .. "packgate_crypto.lua")

local packgate = Proto("packgate", "packgate session protocol")
local message = Proto("packgate_message", "packgate message")

packgate.prefs.ports = Pref.range("UDP ports", "4000", "Ports of session endpoints", 65535)
packgate.prefs.guard = Pref.bool("Guard", true, "Frames end in the guard of 8 bytes")
packgate.prefs.messages = Pref.bool("Messages", false, "Opened packets carry messages")
packgate.prefs.secrets = Pref.string("Secrets", "",
	"File of secrets: what `packgate session add --from` takes, one JSON object a line")
message.prefs.ports = Pref.range("TCP ports", "", "Ports of TCP entrances", 65535)
message.prefs.maximum = Pref.uint("Longest body", 1048576, "A longer body is malformed")

-- --- what the protocol fixes -----------------------------------------------------------------

local HEADER, GUARD, TAG, FRAME_MAX, FRAGMENTS_MAX = 16, 8, 16, 2048, 512
local STRE, PACK, FRAG, RSV, SLOW, FIN = 0x80, 0x40, 0x20, 0x1c, 0x02, 0x01
local C2S, S2C, BOTH = 1, 2, 3
local DATA, ACK, SHAKEHAND, HANDSHAKE = 0x0, 0x4, 0xa, 0xb

local function set(...)
	local out = {}
	for _, v in ipairs({ ... }) do out[v] = true end
	return out
end

-- flags, payload bytes without the guard (least, most), the same of a fragment
local NONE, STREAM = set(0x00), set(0x80)
local OPCODES = {
	[0x0] = { "data", BOTH, set(0x40, 0xc0, 0x60, 0xe0, 0x61, 0xe1), 16, 65535, 17, 65535 },
	[0x4] = { "ack", BOTH, set(0x40, 0x42, 0xc0, 0xc2, 0x60, 0x61, 0x62, 0x63, 0xe0, 0xe1, 0xe2,
		0xe3), 0, 0, 1, 64 },
	[0x5] = { "ping", BOTH, NONE, 0, 64 },
	[0x6] = { "pong", BOTH, NONE, 0, 64 },
	[0x7] = { "openstream", C2S, STREAM, 0, 1 },
	[0x8] = { "streamopen", BOTH, STREAM, 0, 0 },
	[0x9] = { "closestream", BOTH, STREAM, 0, 0 },
	[0xa] = { "shakehand", C2S, NONE, 256, 1172 },
	[0xb] = { "handshake", BOTH, NONE, 1, 256 },
	[0xc] = { "goaway", BOTH, NONE, 1, 1 },
}

local opcode_names = {}
for number, row in pairs(OPCODES) do opcode_names[number] = row[1] end
local POLICIES = { [0] = "reliable", "newest", "unordered" }
local GOAWAYS = { [0] = "normal", "error", "expired" }
local AEADS = { [0] = "no wish", "ChaCha20-Poly1305", "AES-256-GCM" }
local CODES = { [0] = "accepted", "authentication failed", "ask again with the cookie",
	[255] = "try later" }

-- --- fields ----------------------------------------------------------------------------------

local f = {
	session = ProtoField.uint32("packgate.session", "Session", base.HEX),
	client_id = ProtoField.uint16("packgate.client_id", "Client id", base.HEX),
	server_id = ProtoField.uint16("packgate.server_id", "Server id", base.HEX),
	timestamp = ProtoField.absolute_time("packgate.timestamp", "Timestamp", base.UTC),
	flags = ProtoField.uint8("packgate.flags", "Flags", base.HEX),
	stre = ProtoField.bool("packgate.flags.stre", "Stream id", 8, nil, STRE),
	pack = ProtoField.bool("packgate.flags.pack", "Packet id", 8, nil, PACK),
	frag = ProtoField.bool("packgate.flags.frag", "Fragment id", 8, nil, FRAG),
	rsv = ProtoField.uint8("packgate.flags.reserved", "Reserved", base.HEX, nil, RSV),
	slow = ProtoField.bool("packgate.flags.slow", "Slow", 8, nil, SLOW),
	fin = ProtoField.bool("packgate.flags.fin", "Last fragment", 8, nil, FIN),
	opcode = ProtoField.uint8("packgate.opcode", "Opcode", base.HEX, opcode_names, 0x0f),
	length = ProtoField.uint16("packgate.payload_length", "Payload length", base.DEC),
	stream = ProtoField.uint32("packgate.stream_id", "Stream id", base.DEC),
	pack_id = ProtoField.uint32("packgate.pack_id", "Packet id", base.DEC),
	fragment = ProtoField.uint32("packgate.fragment_id", "Fragment id", base.DEC),
	sealed = ProtoField.bytes("packgate.sealed", "Sealed"),
	tag = ProtoField.bytes("packgate.tag", "AEAD tag"),
	opened = ProtoField.bool("packgate.opened", "Opened"),
	plain = ProtoField.bytes("packgate.plain", "Plaintext"),
	guard = ProtoField.bytes("packgate.guard", "Guard"),
	guard_right = ProtoField.bool("packgate.guard.right", "Guard right"),
	ack_bits = ProtoField.bytes("packgate.ack.bits", "Fragments received"),
	ack_list = ProtoField.string("packgate.ack.fragments", "Fragment ids received"),
	echo = ProtoField.bytes("packgate.echo", "Bytes to echo"),
	policy = ProtoField.uint8("packgate.stream.policy", "Policy", base.DEC, POLICIES),
	goaway = ProtoField.uint8("packgate.goaway", "Reason", base.DEC, GOAWAYS),
	version = ProtoField.uint8("packgate.shakehand.version", "Version", base.DEC),
	wish = ProtoField.uint8("packgate.shakehand.aead", "AEAD wished", base.DEC, AEADS),
	code = ProtoField.uint8("packgate.handshake.code", "Code", base.DEC, CODES),
	cookie = ProtoField.bytes("packgate.cookie", "Cookie"),
	noise = ProtoField.bytes("packgate.noise", "Noise message"),
}
packgate.fields = f

local invalid = ProtoExpert.new("packgate.invalid", "Invalid frame", expert.group.MALFORMED,
	expert.severity.ERROR)
local wrong_guard = ProtoExpert.new("packgate.guard.wrong", "The guard is wrong",
	expert.group.CHECKSUM, expert.severity.ERROR)
local wrong_tag = ProtoExpert.new("packgate.tag.wrong", "The AEAD tag is wrong",
	expert.group.DECRYPTION, expert.severity.ERROR)
packgate.experts = { invalid, wrong_guard, wrong_tag }

local m = {
	id = ProtoField.uint32("packgate_message.id", "Id", base.DEC),
	packet_length = ProtoField.uint32("packgate_message.packet_length", "PacketLength", base.DEC),
	length = ProtoField.uint32("packgate_message.length", "Body length", base.DEC),
	body = ProtoField.bytes("packgate_message.body", "Body"),
}
message.fields = m
local malformed = ProtoExpert.new("packgate_message.malformed", "Malformed message",
	expert.group.MALFORMED, expert.severity.ERROR)
message.experts = { malformed }

-- --- secrets ---------------------------------------------------------------------------------

local secrets, secrets_from = {}, nil

local function unhex(text)
	return (text:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end))
end

local function read_line(line)
	local client = line:match('"client_id"%s*:%s*"?(0?x?%x+)')
	local server = line:match('"server_id"%s*:%s*"?(0?x?%x+)')
	local secret = line:match('"secret"%s*:%s*"(%x+)"')
	if not (client and server and secret) then return end
	local id = tonumber(client) * 65536 + tonumber(server)
	secrets[id] = {
		prk = crypto.hkdf_extract("udpack/1 session", unhex(secret)),
		aead = line:find("aes%-256%-gcm") and 2 or 1,
		keys = {},
	}
end

local function read_secrets()
	if secrets_from == packgate.prefs.secrets then return end
	secrets, secrets_from = {}, packgate.prefs.secrets
	if secrets_from == "" then return end
	local file, why = io.open(secrets_from, "r")
	if not file then
		report_failure("packgate: reading the secrets: " .. why)
		return
	end
	for line in file:lines() do
		read_line(line)
	end
	file:close()
end

local function derived(secret, info, length)
	local key = secret.keys[info]
	if not key then
		key = crypto.hkdf_expand(secret.prk, info, length)
		secret.keys[info] = key
	end
	return key
end

-- --- a frame ---------------------------------------------------------------------------------

-- The fields of a frame and, where it is not valid, the reason of docs/protocol.md.
local function check(tvb, frame)
	if tvb:len() < HEADER then return "frame_short" end
	frame.flags, frame.opcode = tvb(12, 1):uint(), bit32.band(tvb(13, 1):uint(), 0x0f)
	if bit32.band(frame.flags, RSV) ~= 0 or tvb(13, 1):uint() > 0x0f then
		return "reserved_bits"
	end
	local rule = OPCODES[frame.opcode]
	if not rule or bit32.band(rule[2], frame.direction) == 0 then return "opcode" end
	if not rule[3][frame.flags] then return "flags" end
	frame.header = HEADER
	for _, flag in ipairs({ STRE, PACK, FRAG }) do
		if bit32.band(frame.flags, flag) ~= 0 then frame.header = frame.header + 4 end
	end
	if tvb:len() < frame.header then return "frame_short" end
	frame.length = tvb(14, 2):uint()
	if frame.header + frame.length ~= tvb:len() then return "length_mismatch" end
	local client, server = tvb(0, 2):uint(), tvb(2, 2):uint()
	frame.session = tvb(0, 4):uint()
	if client == 0 then return "id_zero" end
	if frame.opcode == SHAKEHAND then
		if server ~= 0 then return "id_zero" end
	elseif server == 0 and not (frame.opcode == HANDSHAKE and frame.direction == S2C and
			frame.length > 0 and tvb(HEADER, 1):uint() ~= 0) then
		return "id_zero"
	end
	local at = HEADER
	for _, part in ipairs({ { STRE, "stream" }, { PACK, "pack" }, { FRAG, "fragment" } }) do
		if bit32.band(frame.flags, part[1]) ~= 0 then
			frame[part[2]] = tvb(at, 4):uint()
			if frame[part[2]] == 0 then return "id_zero" end
			at = at + 4
		end
	end
	if (frame.fragment or 0) > FRAGMENTS_MAX then return "id_range" end
	frame.guarded = packgate.prefs.guard and frame.opcode ~= SHAKEHAND and
		not (frame.opcode == HANDSHAKE and frame.direction == S2C)
	local most, least = rule[5], rule[4]
	if frame.fragment then most, least = rule[7], rule[6] end
	local extra = frame.guarded and GUARD or 0
	if frame.length < least + extra or frame.length > most + extra or
			tvb:len() > FRAME_MAX then
		return "payload_size"
	end
end

local function add_header(tree, tvb, frame)
	local session = tree:add(f.session, tvb(0, 4))
	session:add(f.client_id, tvb(0, 2))
	session:add(f.server_id, tvb(2, 2))
	local ms = tvb(4, 8):uint64()
	local seconds = (ms / 1000):tonumber()
	tree:add(f.timestamp, tvb(4, 8), NSTime.new(seconds, (ms % 1000):tonumber() * 1000000))
	local flags = tree:add(f.flags, tvb(12, 1))
	for _, name in ipairs({ "stre", "pack", "frag", "rsv", "slow", "fin" }) do
		flags:add(f[name], tvb(12, 1))
	end
	tree:add(f.opcode, tvb(13, 1))
	tree:add(f.length, tvb(14, 2))
	local at = HEADER
	for _, part in ipairs({ { "stream", f.stream }, { "pack", f.pack_id },
			{ "fragment", f.fragment } }) do
		if frame[part[1]] then
			tree:add(part[2], tvb(at, 4))
			at = at + 4
		end
	end
end

local function add_guard(tree, tvb, frame, secret)
	if not frame.guarded then return end
	local range = tvb(tvb:len() - GUARD, GUARD)
	local item = tree:add(f.guard, range)
	if not secret then return end
	local key = derived(secret, frame.way .. " guard", 16)
	local covered = frame.opcode == DATA and frame.header or tvb:len() - GUARD
	local right = crypto.siphash(key, tvb(0, covered):raw()) == range:raw()
	item:add(f.guard_right, range, right):set_generated()
	if not right then item:add_proto_expert_info(wrong_guard) end
end

local function open_frame(tvb, frame, secret, sealed, tag)
	local ids = crypto.be32(frame.stream or 0) .. crypto.be32(frame.pack) ..
		crypto.be32(frame.fragment or 0)
	local block = crypto.be32(frame.stream or 0) .. crypto.be32(bit32.rshift(frame.pack, 14))
	local key = derived(secret, frame.way .. " key" .. block, 32)
	local iv = derived(secret, frame.way .. " iv", 12)
	return crypto.open(secret.aead, key, crypto.xor(iv, ids), tvb(0, frame.header):raw(),
		sealed, tag)
end

local function add_messages(plain, pinfo, tree)
	local tvb = ByteArray.new(plain, true):tvb("packgate plaintext")
	if packgate.prefs.messages and tvb:len() > 0 then
		message.dissector(tvb, pinfo, tree)
	end
	return tvb
end

local function add_data(tree, tvb, pinfo, frame, secret)
	local size = frame.length - TAG - (frame.guarded and GUARD or 0)
	local tag = tvb(frame.header + size, TAG)
	if size > 0 then tree:add(f.sealed, tvb(frame.header, size)) end
	local item = tree:add(f.tag, tag)
	if not secret then return end
	local sealed = size > 0 and tvb(frame.header, size):raw() or ""
	local plain = open_frame(tvb, frame, secret, sealed, tag:raw())
	item:add(f.opened, tag, plain ~= nil):set_generated()
	if not plain then
		item:add_proto_expert_info(wrong_tag)
	elseif #plain > 0 then
		local root = frame.fragment and tree or frame.root
		local opened = frame.fragment and ByteArray.new(plain, true):tvb("packgate plaintext")
			or add_messages(plain, pinfo, root)
		tree:add(f.plain, opened(0, opened:len())):set_generated()
	end
end

local function add_ack(tree, tvb, frame, payload, size)
	if size == 0 then return end
	local list = {}
	for k = 0, math.min(size * 8, frame.fragment) - 1 do
		local bits = tvb(payload + math.floor(k / 8), 1):uint()
		if bit32.band(bits, bit32.rshift(0x80, k % 8)) ~= 0 then
			table.insert(list, 1, frame.fragment - k)
		end
	end
	tree:add(f.ack_bits, tvb(payload, size))
	tree:add(f.ack_list, tvb(payload, size), table.concat(list, " ")):set_generated()
end

local function add_shakehand(tree, tvb, payload, size)
	tree:add(f.version, tvb(payload, 1))
	tree:add(f.wish, tvb(payload + 1, 1))
	tree:add(f.cookie, tvb(payload + 2, 16))
	tree:add(f.noise, tvb(payload + 18, size - 18))
end

local function add_handshake(tree, tvb, payload, size)
	tree:add(f.code, tvb(payload, 1))
	local code = tvb(payload, 1):uint()
	if size > 1 and code == 2 then
		tree:add(f.cookie, tvb(payload + 1, size - 1))
	elseif size > 1 then
		tree:add(f.noise, tvb(payload + 1, size - 1))
	end
end

local function add_payload(tree, tvb, pinfo, frame, secret)
	local payload, size = frame.header, frame.length - (frame.guarded and GUARD or 0)
	local name = opcode_names[frame.opcode]
	if frame.opcode == DATA then
		add_data(tree, tvb, pinfo, frame, secret)
	elseif frame.opcode == ACK then
		add_ack(tree, tvb, frame, payload, size)
	elseif frame.opcode == SHAKEHAND then
		add_shakehand(tree, tvb, payload, size)
	elseif frame.opcode == HANDSHAKE then
		add_handshake(tree, tvb, payload, size)
	elseif size > 0 then
		local field = ({ openstream = f.policy, goaway = f.goaway })[name] or f.echo
		tree:add(field, tvb(payload, size))
	end
end

local function summary(frame)
	local text = string.format("%s %08x", opcode_names[frame.opcode], frame.session)
	if frame.stream then text = text .. string.format(" stream %u", frame.stream) end
	if frame.pack then text = text .. string.format(" packet %u", frame.pack) end
	if frame.fragment then text = text .. string.format(" fragment %u", frame.fragment) end
	if bit32.band(frame.flags, FIN) ~= 0 then text = text .. " (last)" end
	if bit32.band(frame.flags, SLOW) ~= 0 then text = text .. " slow" end
	return text
end

local ports = {}

function packgate.dissector(tvb, pinfo, root)
	local frame = { root = root, direction = ports[pinfo.dst_port] and C2S or S2C }
	local tree = root:add(packgate, tvb())
	local reason = check(tvb, frame)
	frame.way = frame.direction == C2S and "c2s" or "s2c"
	pinfo.cols.protocol = "packgate"
	if reason then
		pinfo.cols.info = "invalid frame: " .. reason
		tree:append_text(", invalid: " .. reason)
		tree:add_proto_expert_info(invalid, "Invalid frame: " .. reason)
		return
	end
	read_secrets()
	pinfo.cols.info = summary(frame)
	tree:append_text(", " .. summary(frame))
	add_header(tree, tvb, frame)
	local secret = secrets[frame.session]
	add_payload(tree, tvb, pinfo, frame, secret)
	add_guard(tree, tvb, frame, secret)
end

-- --- a message -------------------------------------------------------------------------------

-- The varint at an offset and the offset behind it; nil when it is cut, or false and a reason.
local function varint(tvb, at)
	local value = 0
	for i = 0, 4 do
		if at + i >= tvb:len() then return nil end
		local octet = tvb(at + i, 1):uint()
		value = value + (octet % 128) * 2 ^ (7 * i)
		if octet < 128 then
			if octet == 0 and i > 0 then return false, "an over-long varint" end
			if value > 2 ^ 31 - 1 then return false, "a varint over 2^31-1" end
			return value, at + i + 1
		end
	end
	return false, "a varint over 5 bytes"
end

local function header_field(tvb, at, tag)
	if at >= tvb:len() then return nil end
	if tvb(at, 1):uint() ~= tag then return false, "another tag" end
	return varint(tvb, at + 1)
end

-- A message's parts; nil when more bytes are needed; false and a reason when it is malformed.
local function read_message(tvb, at)
	local id, after_id = header_field(tvb, at, 0x08)
	if not id then return id, after_id end
	if id == 0 then return false, "Id 0" end
	local total, after = header_field(tvb, after_id, 0x10)
	if not total then return total, after end
	if total < 4 then return false, "PacketLength below 4" end
	if total - 4 > message.prefs.maximum then return false, "a body over the maximum" end
	if after + 4 > tvb:len() then return nil end
	local length = tvb(after, 4):le_uint()
	if length + 4 ~= total then return false, "PacketLength is not 4 + n" end
	if after + total > tvb:len() then return nil end
	return { id = id, after_id = after_id, after = after, length = length, total = total }
end

local function add_message(root, tvb, at, parts)
	local tree = root:add(message, tvb(at, parts.after + parts.total - at))
	tree:append_text(string.format(", Id %u, %u bytes", parts.id, parts.length))
	tree:add(m.id, tvb(at, parts.after_id - at), parts.id)
	tree:add(m.packet_length, tvb(parts.after_id, parts.after - parts.after_id), parts.total)
	tree:add_le(m.length, tvb(parts.after, 4))
	if parts.length > 0 then tree:add(m.body, tvb(parts.after + 4, parts.length)) end
end

function message.dissector(tvb, pinfo, root)
	local at, ids = 0, {}
	while at < tvb:len() do
		local parts, why = read_message(tvb, at)
		if parts == nil and pinfo.can_desegment > 0 then
			pinfo.desegment_offset = at
			pinfo.desegment_len = DESEGMENT_ONE_MORE_SEGMENT
			break
		elseif not parts then
			local tree = root:add(message, tvb(at))
			tree:add_proto_expert_info(malformed, "Malformed message: " .. (why or "cut short"))
			ids[#ids + 1] = "malformed"
			break
		end
		add_message(root, tvb, at, parts)
		ids[#ids + 1] = tostring(parts.id)
		at = parts.after + parts.total
	end
	if pinfo.port_type == 2 then pinfo.cols.protocol = "packgate" end
	if #ids > 0 then pinfo.cols.info:append(" messages " .. table.concat(ids, " ")) end
	return tvb:len()
end

-- --- ports -----------------------------------------------------------------------------------

local function each_port(range, visit)
	for part in tostring(range):gmatch("[^,%s]+") do
		local first, last = part:match("^(%d+)%-(%d+)$")
		first = tonumber(first or part)
		for port = first or 1, tonumber(last) or first or 0 do
			visit(port)
		end
	end
end

local registered = {}

local function register(name, protocol, range)
	local dissectors = DissectorTable.get(name)
	for _, port in ipairs(registered[name] or {}) do
		dissectors:remove(port, protocol)
	end
	registered[name] = {}
	each_port(range, function(port)
		dissectors:add(port, protocol)
		table.insert(registered[name], port)
	end)
end

local function register_frames()
	register("udp.port", packgate, packgate.prefs.ports)
	ports = {}
	for _, port in ipairs(registered["udp.port"]) do ports[port] = true end
end

local function register_messages()
	register("tcp.port", message, message.prefs.ports)
end

packgate.prefs_changed = register_frames
message.prefs_changed = register_messages
register_frames()
register_messages()
