-- SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
-- What the packgate dissector needs to open sealed frames, in plain Lua 5.2: HKDF-SHA256
-- (RFC 5869), ChaCha20-Poly1305 (RFC 8439), AES-256-GCM (SP 800-38D), SipHash-2-4. Arguments and
-- results are byte strings. It is made for looking at captures: neither fast nor constant in time.

local band, bor, bxor, bnot = bit32.band, bit32.bor, bit32.bxor, bit32.bnot
local lshift, rshift, lrotate, rrotate = bit32.lshift, bit32.rshift, bit32.lrotate, bit32.rrotate
local byte, char, rep, sub = string.byte, string.char, string.rep, string.sub

local crypto = {}

local function be32(text, at)
	local a, b, c, d = byte(text, at, at + 3)
	return ((a * 256 + b) * 256 + c) * 256 + d
end

local function le32(text, at)
	local a, b, c, d = byte(text, at, at + 3)
	return ((d * 256 + c) * 256 + b) * 256 + a
end

local function put_be32(word)
	return char(rshift(word, 24), band(rshift(word, 16), 255), band(rshift(word, 8), 255),
		band(word, 255))
end

local function put_le32(word)
	return char(band(word, 255), band(rshift(word, 8), 255), band(rshift(word, 16), 255),
		rshift(word, 24))
end

local function xor_text(a, b)
	local out = {}
	for i = 1, #a do
		out[i] = char(bxor(byte(a, i), byte(b, i)))
	end
	return table.concat(out)
end

-- --- SHA-256, HMAC, HKDF ---------------------------------------------------------------------

-- The first 32 bits of the fractions of the square or cube roots of the first primes.
local function primes(count)
	local found, n = {}, 2
	while #found < count do
		local prime = true
		for _, p in ipairs(found) do
			if p * p > n then break end
			if n % p == 0 then prime = false break end
		end
		if prime then found[#found + 1] = n end
		n = n + 1
	end
	return found
end

local K, H0 = {}, {}
for i, p in ipairs(primes(64)) do
	local cube, square = p ^ (1 / 3), p ^ 0.5
	K[i] = math.floor((cube - math.floor(cube)) * 2 ^ 32)
	if i <= 8 then H0[i] = math.floor((square - math.floor(square)) * 2 ^ 32) end
end

local function sha256_block(state, text, at)
	local w = {}
	for i = 1, 16 do
		w[i] = be32(text, at + 4 * (i - 1))
	end
	for i = 17, 64 do
		local x, y = w[i - 15], w[i - 2]
		local s0 = bxor(rrotate(x, 7), rrotate(x, 18), rshift(x, 3))
		local s1 = bxor(rrotate(y, 17), rrotate(y, 19), rshift(y, 10))
		w[i] = band(w[i - 16] + s0 + w[i - 7] + s1, 0xffffffff)
	end
	local a, b, c, d, e, f, g, h = table.unpack(state)
	for i = 1, 64 do
		local s1 = bxor(rrotate(e, 6), rrotate(e, 11), rrotate(e, 25))
		local t1 = h + s1 + bxor(band(e, f), band(bnot(e), g)) + K[i] + w[i]
		local s0 = bxor(rrotate(a, 2), rrotate(a, 13), rrotate(a, 22))
		local t2 = s0 + bxor(band(a, b), band(a, c), band(b, c))
		h, g, f, e = g, f, e, band(d + t1, 0xffffffff)
		d, c, b, a = c, b, a, band(t1 + t2, 0xffffffff)
	end
	for i, v in ipairs({ a, b, c, d, e, f, g, h }) do
		state[i] = band(state[i] + v, 0xffffffff)
	end
end

function crypto.sha256(text)
	local state = { table.unpack(H0) }
	local bits = #text * 8
	local padded = text .. "\128" .. rep("\0", (55 - #text) % 64) ..
		put_be32(math.floor(bits / 2 ^ 32)) .. put_be32(bits % 2 ^ 32)
	for at = 1, #padded, 64 do
		sha256_block(state, padded, at)
	end
	local out = {}
	for i = 1, 8 do
		out[i] = put_be32(state[i])
	end
	return table.concat(out)
end

local function hmac(key, text)
	if #key > 64 then key = crypto.sha256(key) end
	key = key .. rep("\0", 64 - #key)
	return crypto.sha256(xor_text(key, rep("\x5c", 64)) ..
		crypto.sha256(xor_text(key, rep("\x36", 64)) .. text))
end

crypto.hkdf_extract = hmac -- salt, input

function crypto.hkdf_expand(prk, info, length)
	local out, block, i = "", "", 1
	while #out < length do
		block = hmac(prk, block .. info .. char(i))
		out = out .. block
		i = i + 1
	end
	return sub(out, 1, length)
end

-- --- ChaCha20-Poly1305 -----------------------------------------------------------------------

local function quarter(s, a, b, c, d)
	s[a] = band(s[a] + s[b], 0xffffffff) s[d] = lrotate(bxor(s[d], s[a]), 16)
	s[c] = band(s[c] + s[d], 0xffffffff) s[b] = lrotate(bxor(s[b], s[c]), 12)
	s[a] = band(s[a] + s[b], 0xffffffff) s[d] = lrotate(bxor(s[d], s[a]), 8)
	s[c] = band(s[c] + s[d], 0xffffffff) s[b] = lrotate(bxor(s[b], s[c]), 7)
end

local function chacha20_block(key, counter, nonce)
	local start = { 0x61707865, 0x3320646e, 0x79622d32, 0x6b206574 }
	for i = 0, 7 do
		start[5 + i] = le32(key, 1 + 4 * i)
	end
	start[13] = counter
	for i = 0, 2 do
		start[14 + i] = le32(nonce, 1 + 4 * i)
	end
	local s = { table.unpack(start) }
	for _ = 1, 10 do
		quarter(s, 1, 5, 9, 13) quarter(s, 2, 6, 10, 14)
		quarter(s, 3, 7, 11, 15) quarter(s, 4, 8, 12, 16)
		quarter(s, 1, 6, 11, 16) quarter(s, 2, 7, 12, 13)
		quarter(s, 3, 8, 9, 14) quarter(s, 4, 5, 10, 15)
	end
	local out = {}
	for i = 1, 16 do
		out[i] = put_le32(band(s[i] + start[i], 0xffffffff))
	end
	return table.concat(out)
end

local function chacha20(key, counter, nonce, text)
	local out = {}
	for at = 1, #text, 64 do
		local part = sub(text, at, at + 63)
		out[#out + 1] = xor_text(part, chacha20_block(key, counter, nonce))
		counter = counter + 1
	end
	return table.concat(out)
end

-- A number below 2^130 as ten limbs of 13 bits, so that no sum of products passes 2^53.
local LIMBS, LIMB = 10, 8192

local function limbs(text)
	local out, carry, bits = {}, 0, 0
	for i = 1, #text do
		carry = carry + byte(text, i) * 2 ^ bits
		bits = bits + 8
		while bits >= 13 do
			out[#out + 1] = carry % LIMB
			carry = math.floor(carry / LIMB)
			bits = bits - 13
		end
	end
	out[#out + 1] = carry
	for i = #out + 1, LIMBS do
		out[i] = 0
	end
	return out
end

local function carry_limbs(h)
	local carry = 0
	for _ = 1, 2 do
		for i = 1, LIMBS do
			local v = h[i] + carry
			h[i] = v % LIMB
			carry = math.floor(v / LIMB)
		end
		h[1] = h[1] + carry * 5
		carry = 0
	end
end

local function multiply_limbs(a, b)
	local out = {}
	for i = 1, LIMBS do
		local sum = 0
		for k = 1, LIMBS do
			local other = i - k + 1
			if other >= 1 then
				sum = sum + a[k] * b[other]
			else
				sum = sum + a[k] * b[other + LIMBS] * 5
			end
		end
		out[i] = sum
	end
	carry_limbs(out)
	return out
end

-- The limbs as 16 bytes little-endian, modulo 2^130 - 5 and then 2^128, plus the pad.
local function finish_poly(h, pad)
	carry_limbs(h)
	local high = h[1] >= LIMB - 5
	for i = 2, LIMBS do
		high = high and h[i] == LIMB - 1
	end
	if high then
		h = { h[1] - (LIMB - 5), 0, 0, 0, 0, 0, 0, 0, 0, 0 }
	end
	local out, value, bits, limb, carry = {}, 0, 0, 1, 0
	for i = 1, 16 do
		while bits < 8 do
			value = value + (h[limb] or 0) * 2 ^ bits
			bits = bits + 13
			limb = limb + 1
		end
		local sum = value % 256 + byte(pad, i) + carry
		out[i] = char(sum % 256)
		carry = math.floor(sum / 256)
		value = math.floor(value / 256)
		bits = bits - 8
	end
	return table.concat(out)
end

local function poly1305(key, text)
	local clamp = "\255\255\255\15\252\255\255\15\252\255\255\15\252\255\255\15"
	local clamped = {}
	for i = 1, 16 do
		clamped[i] = char(band(byte(key, i), byte(clamp, i)))
	end
	local r, h = limbs(table.concat(clamped)), limbs("")
	for at = 1, #text, 16 do
		local n = limbs(sub(text, at, at + 15) .. "\1")
		for i = 1, LIMBS do
			h[i] = h[i] + n[i]
		end
		carry_limbs(h)
		h = multiply_limbs(h, r)
	end
	return finish_poly(h, sub(key, 17, 32))
end

local function padded16(text)
	return text .. rep("\0", -#text % 16)
end

local function chacha_open(key, nonce, aad, sealed, tag)
	local mac_text = padded16(aad) .. padded16(sealed) .. put_le32(#aad) .. "\0\0\0\0" ..
		put_le32(#sealed) .. "\0\0\0\0"
	if poly1305(sub(chacha20_block(key, 0, nonce), 1, 32), mac_text) ~= tag then
		return nil
	end
	return chacha20(key, 1, nonce, sealed)
end

-- --- AES-256-GCM -----------------------------------------------------------------------------

local function times2(x)
	return bxor(band(x * 2, 255), x >= 128 and 0x1b or 0)
end

-- The S-box, from powers of the generator 3 in GF(2^8) and the affine map.
local SBOX = {}
do
	local power, log, x = {}, {}, 1
	for i = 0, 254 do
		power[i], log[x] = x, i
		x = bxor(x, times2(x))
	end
	for i = 0, 255 do
		local inverse = i == 0 and 0 or power[(255 - log[i]) % 255]
		local y = inverse
		for shift = 1, 4 do
			y = bxor(y, band(bor(lshift(inverse, shift), rshift(inverse, 8 - shift)), 255))
		end
		SBOX[i] = bxor(y, 0x63)
	end
end

local function sub_word(word)
	return bor(lshift(SBOX[rshift(word, 24)], 24), lshift(SBOX[band(rshift(word, 16), 255)], 16),
		lshift(SBOX[band(rshift(word, 8), 255)], 8), SBOX[band(word, 255)])
end

-- 15 round keys of 16 bytes each.
local function expand_key(key)
	local w, rcon = {}, 1
	for i = 0, 7 do
		w[i] = be32(key, 1 + 4 * i)
	end
	for i = 8, 59 do
		local t = w[i - 1]
		if i % 8 == 0 then
			t = bxor(sub_word(lrotate(t, 8)), lshift(rcon, 24))
			rcon = times2(rcon)
		elseif i % 8 == 4 then
			t = sub_word(t)
		end
		w[i] = bxor(w[i - 8], t)
	end
	local rounds = {}
	for i = 0, 14 do
		rounds[i] = { byte(put_be32(w[4 * i]) .. put_be32(w[4 * i + 1]) ..
			put_be32(w[4 * i + 2]) .. put_be32(w[4 * i + 3]), 1, 16) }
	end
	return rounds
end

local function mix_column(s, i)
	local a, b, c, d = s[i], s[i + 1], s[i + 2], s[i + 3]
	local all = bxor(a, b, c, d)
	s[i] = bxor(a, all, times2(bxor(a, b)))
	s[i + 1] = bxor(b, all, times2(bxor(b, c)))
	s[i + 2] = bxor(c, all, times2(bxor(c, d)))
	s[i + 3] = bxor(d, all, times2(bxor(d, a)))
end

local function aes_block(rounds, text)
	local s = { byte(text, 1, 16) }
	for i = 1, 16 do
		s[i] = bxor(s[i], rounds[0][i])
	end
	for round = 1, 14 do
		local t = {}
		for i = 0, 15 do
			-- row i % 4 is shifted by as many columns
			t[i + 1] = SBOX[s[(i + 4 * (i % 4)) % 16 + 1]]
		end
		if round < 14 then
			for column = 1, 13, 4 do
				mix_column(t, column)
			end
		end
		for i = 1, 16 do
			s[i] = bxor(t[i], rounds[round][i])
		end
	end
	return char(table.unpack(s))
end

-- x times h in GF(2^128), both as four words, most significant first.
local function gf_multiply(x, h)
	local z0, z1, z2, z3 = 0, 0, 0, 0
	local v0, v1, v2, v3 = h[1], h[2], h[3], h[4]
	for word = 1, 4 do
		for bit = 31, 0, -1 do
			if band(rshift(x[word], bit), 1) == 1 then
				z0, z1, z2, z3 = bxor(z0, v0), bxor(z1, v1), bxor(z2, v2), bxor(z3, v3)
			end
			local low = band(v3, 1)
			v3 = bor(rshift(v3, 1), lshift(band(v2, 1), 31))
			v2 = bor(rshift(v2, 1), lshift(band(v1, 1), 31))
			v1 = bor(rshift(v1, 1), lshift(band(v0, 1), 31))
			v0 = rshift(v0, 1)
			if low == 1 then v0 = bxor(v0, 0xe1000000) end
		end
	end
	return { z0, z1, z2, z3 }
end

local function ghash(h, text)
	local key = { be32(h, 1), be32(h, 5), be32(h, 9), be32(h, 13) }
	local y = { 0, 0, 0, 0 }
	for at = 1, #text, 16 do
		for i = 1, 4 do
			y[i] = bxor(y[i], be32(text, at + 4 * (i - 1)))
		end
		y = gf_multiply(y, key)
	end
	return put_be32(y[1]) .. put_be32(y[2]) .. put_be32(y[3]) .. put_be32(y[4])
end

local function gcm_open(key, nonce, aad, sealed, tag)
	local rounds = expand_key(key)
	local hash = ghash(aes_block(rounds, rep("\0", 16)), padded16(aad) .. padded16(sealed) ..
		"\0\0\0\0" .. put_be32(#aad * 8) .. "\0\0\0\0" .. put_be32(#sealed * 8))
	if xor_text(hash, aes_block(rounds, nonce .. put_be32(1))) ~= tag then
		return nil
	end
	local out = {}
	for at = 1, #sealed, 16 do
		local stream = aes_block(rounds, nonce .. put_be32(2 + (at - 1) / 16))
		out[#out + 1] = xor_text(sub(sealed, at, at + 15), stream)
	end
	return table.concat(out)
end

-- The plaintext, or nil when the tag is wrong. aead: 1 ChaCha20-Poly1305, 2 AES-256-GCM.
function crypto.open(aead, key, nonce, aad, sealed, tag)
	return (aead == 1 and chacha_open or gcm_open)(key, nonce, aad, sealed, tag)
end

crypto.xor = xor_text
crypto.be32 = put_be32

-- --- SipHash-2-4 -----------------------------------------------------------------------------

-- 64-bit words as { high, low }.
local function add64(a, b)
	local low = a[2] + b[2]
	return { band(a[1] + b[1] + math.floor(low / 2 ^ 32), 0xffffffff), band(low, 0xffffffff) }
end

local function xor64(a, b)
	return { bxor(a[1], b[1]), bxor(a[2], b[2]) }
end

local function rotate64(a, n)
	local high, low = a[1], a[2]
	if n >= 32 then high, low, n = low, high, n - 32 end
	if n == 0 then return { high, low } end
	return { bor(lshift(high, n), rshift(low, 32 - n)), bor(lshift(low, n), rshift(high, 32 - n)) }
end

local function sip_round(v)
	v[1] = add64(v[1], v[2]) v[2] = xor64(rotate64(v[2], 13), v[1]) v[1] = rotate64(v[1], 32)
	v[3] = add64(v[3], v[4]) v[4] = xor64(rotate64(v[4], 16), v[3])
	v[1] = add64(v[1], v[4]) v[4] = xor64(rotate64(v[4], 21), v[1])
	v[3] = add64(v[3], v[2]) v[2] = xor64(rotate64(v[2], 17), v[3]) v[3] = rotate64(v[3], 32)
end

local function le64(text, at)
	return { le32(text, at + 4), le32(text, at) }
end

function crypto.siphash(key, text)
	local k0, k1 = le64(key, 1), le64(key, 9)
	local v = {
		xor64(k0, { 0x736f6d65, 0x70736575 }), xor64(k1, { 0x646f7261, 0x6e646f6d }),
		xor64(k0, { 0x6c796765, 0x6e657261 }), xor64(k1, { 0x74656462, 0x79746573 }),
	}
	local padded = text .. rep("\0", 7 - #text % 8) .. char(#text % 256)
	for at = 1, #padded, 8 do
		local m = le64(padded, at)
		v[4] = xor64(v[4], m)
		sip_round(v) sip_round(v)
		v[1] = xor64(v[1], m)
	end
	v[3] = xor64(v[3], { 0, 0xff })
	for _ = 1, 4 do
		sip_round(v)
	end
	local out = xor64(xor64(v[1], v[2]), xor64(v[3], v[4]))
	return put_le32(out[2]) .. put_le32(out[1])
end

return crypto
