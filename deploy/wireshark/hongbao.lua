-- Wireshark dissector of hongbao's wire format 1, as protocol/SPEC.md has it. Copy it into the folder that Help > About > Folders calls
-- "Personal Lua Plugins", or: tshark -X lua_script:hongbao.lua -d tcp.port==8866,hongbao

local hongbao = Proto("hongbao", "hongbao")

-- Field types of the specification: how many bytes, and how Wireshark shows them.
local types = {
  u8 = { 1, ProtoField.uint8 },
  u16 = { 2, ProtoField.uint16 },
  u32 = { 4, ProtoField.uint32 },
  u64 = { 8, ProtoField.uint64 },
  bytes16 = { 16, ProtoField.bytes },
}

local away = { [1] = "full", [2] = "stopping", [3] = "idle", [4] = "replaced", [5] = "dismissed", [6] = "barred" }
local errors = {
  [1] = "bad length", [2] = "unknown kind", [3] = "reserved bits", [4] = "bad value", [5] = "out of order", [6] = "version",
  [7] = "login timeout",
}
local refused = {
  [1] = "no shares", [2] = "too few cents", [3] = "too many shares", [4] = "sender named", [5] = "recipient twice",
  [6] = "total too large", [7] = "balance", [8] = "stale request", [9] = "paused", [10] = "full", [11] = "halted", [12] = "overloaded",
}
local closed = { [1] = "gone", [2] = "not yours", [3] = "expired", [4] = "halted", [5] = "overloaded" }

-- kind = { name, fields behind the header in their order: { name, type, names of values } }
local frames = {
  [0x01] = { "hello", { "version_min", "u8" }, { "version_max", "u8" }, { "reserved", "u16" }, { "user", "u64" } },
  [0x02] = { "shake", { "sequence", "u32" } },
  [0x03] = { "ping", { "nonce", "u32" } },
  [0x10] = { "gift send", { "shares", "u16" }, { "reserved", "u16" }, { "request", "u64" }, { "total_cents", "u64" } },
  [0x11] = { "gift open", { "gift", "u64" } },
  [0x12] = { "gift list", { "request", "u32" }, { "after", "u64" } },
  [0x81] = { "welcome", { "version", "u8" }, { "earlier_wins_shown", "u8" }, { "earlier_wins", "u16" }, { "shake_interval_ms", "u32" },
    { "idle_timeout_ms", "u32" }, { "server_time_us", "u64" } },
  [0x82] = { "envelope", { "sequence", "u32" }, { "envelope", "u64" }, { "amount_cents", "u64" }, { "sponsor", "u32" },
    { "receipt", "bytes16" } },
  [0x83] = { "none", { "sequence", "u32" }, { "retry_after_ms", "u32" } },
  [0x84] = { "user limit", { "sequence", "u32" } },
  [0x85] = { "sponsor limit", { "sequence", "u32" }, { "retry_after_ms", "u32" } },
  [0x86] = { "overloaded", { "sequence", "u32" }, { "retry_after_ms", "u32" } },
  [0x87] = { "pong", { "nonce", "u32" }, { "server_time_us", "u64" } },
  [0x88] = { "go away", { "reason", "u16", away }, { "reserved", "u16" }, { "retry_after_ms", "u32" } },
  [0x89] = { "error", { "code", "u16", errors }, { "wrong_kind", "u8" }, { "reserved8", "u8" } },
  [0x8B] = { "round", { "round", "u16" }, { "reserved", "u16" }, { "server_time_us", "u64" }, { "start_us", "u64" },
    { "end_us", "u64" } },
  [0x90] = { "gift sent", { "request", "u64" }, { "gift", "u64" }, { "expires_in_s", "u32" } },
  [0x91] = { "gift refused", { "request", "u64" }, { "reason", "u16", refused }, { "reserved", "u16" }, { "retry_after_ms", "u32" } },
  [0x92] = { "gift notice", { "gift", "u64" }, { "sender", "u64" }, { "expires_in_s", "u32" } },
  [0x93] = { "gift opened", { "gift", "u64" }, { "share_cents", "u64" }, { "luckiest_cents", "u64" }, { "shares", "u16" },
    { "remaining", "u16" } },
  [0x94] = { "gift closed", { "gift", "u64" }, { "reason", "u16", closed }, { "reserved", "u16" }, { "retry_after_ms", "u32" } },
  [0x95] = { "gift listed", { "request", "u32" }, { "shown", "u32" }, { "pending", "u32" }, { "retry_after_ms", "u32" } },
}

local kinds = {}
for kind, frame in pairs(frames) do kinds[kind] = frame[1] end

local fields = {
  length = ProtoField.uint16("hongbao.length", "length"),
  kind = ProtoField.uint8("hongbao.kind", "kind", base.HEX, kinds),
  flags = ProtoField.uint8("hongbao.flags", "flags", base.HEX),
  again = ProtoField.bool("hongbao.again", "shown or told again, or in a list", 8, nil, 0x01),
  recipient = ProtoField.uint64("hongbao.recipient", "recipient"),
}
-- One field for all frames that have it, named as in the specification; a filter is then as in hongbao.user == 7. Some names have another
-- width in some frames, and so a field of their own.
local function name_of(field)
  local name, kind = field[1], field[2]
  if name == "request" and kind == "u32" then return "request32" end
  return name
end
for _, frame in pairs(frames) do
  for place = 2, #frame do
    local name = name_of(frame[place])
    if not fields[name] then fields[name] = types[frame[place][2]][2]("hongbao." .. name, frame[place][1]) end
  end
end
hongbao.fields = fields

local malformed = ProtoExpert.new("hongbao.malformed", "this is no frame of version 1", expert.group.MALFORMED, expert.severity.ERROR)
hongbao.experts = { malformed }

local HEADER = 4

local function length_of(buffer, _, offset)
  -- A length below the header's would never end.
  return math.max(buffer(offset, 2):le_uint(), HEADER)
end

local function dissect_frame(buffer, packet, tree)
  local length, kind, flags = buffer(0, 2):le_uint(), buffer(2, 1):uint(), buffer(3, 1):uint()
  local frame = frames[kind]
  local name = frame and frame[1] or string.format("kind 0x%02x", kind)
  local shown = tree:add(hongbao, buffer(), "hongbao: " .. name)
  shown:add_le(fields.length, buffer(0, 2))
  shown:add(fields.kind, buffer(2, 1))
  shown:add(fields.flags, buffer(3, 1)):add(fields.again, buffer(3, 1))
  packet.cols.info:append(" [" .. name .. "]")
  local offset = HEADER
  for place = 2, frame and #frame or 1 do
    local bytes = types[frame[place][2]][1]
    if offset + bytes > length then break end
    local item = shown:add_le(fields[name_of(frame[place])], buffer(offset, bytes))
    local meaning = frame[place][3] and frame[place][3][buffer(offset, bytes):le_uint()]
    if meaning then item:append_text(" (" .. meaning .. ")") end
    offset = offset + bytes
  end
  while kind == 0x10 and offset + 8 <= length do
    shown:add_le(fields.recipient, buffer(offset, 8))
    offset = offset + 8
  end
  if not frame or offset ~= length or flags > 1 then shown:add_proto_expert_info(malformed) end
  return buffer:len()
end

function hongbao.dissector(buffer, packet, tree)
  packet.cols.protocol = "hongbao"
  packet.cols.info = packet.src_port .. " > " .. packet.dst_port
  dissect_tcp_pdus(buffer, tree, HEADER, length_of, dissect_frame)
  return buffer:len()
end

DissectorTable.get("tcp.port"):add(8866, hongbao)
