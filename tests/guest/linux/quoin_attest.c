// SPDX-License-Identifier: GPL-2.0
/*
 * Asks the SVSM for attestation with buffers that are too small, which no user of configfs-tsm can, and prints what
 * came of it.
 *
 * SVSM specification 1.00, chapter 7: such a call ends with SVSM_ERR_INVALID_PARAMETER and the sizes that are needed in
 * RCX (manifest), RDX (certificates) and R8 (report). The module does not stay: its initialization ends with an error.
 */
#define pr_fmt(text) KBUILD_MODNAME ": " text

#include <asm/sev.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/module.h>

#define INVALID_PARAMETER 0x80000005ULL
#define REPORT_SIZE 1184
#define NONCE_SIZE 64
#define ORDER 2

/* c476f1eb-0123-45a5-9641-b4e7dde5bfe3 as it lies in memory. */
static const u8 vtpm[16] = { 0xeb, 0xf1, 0x76, 0xc4, 0x23, 0x01, 0xa5, 0x45, 0x96, 0x41, 0xb4, 0xe7, 0xdd, 0xe5, 0xbf, 0xe3 };

/* Sizes of the three buffers; zero certificates asks for none. */
struct attempt {
	const char *name;
	u32 report, manifest, certificates;
	bool fits;
};

static const struct attempt attempts[] = {
	{ "room for all", PAGE_SIZE, PAGE_SIZE, PAGE_SIZE << ORDER, true },
	{ "no certificates wanted", PAGE_SIZE, PAGE_SIZE, 0, true },
	{ "a report buffer of 1183 octets", REPORT_SIZE - 1, PAGE_SIZE, 0, false },
	{ "a manifest buffer of one octet", PAGE_SIZE, 1, 0, false },
	{ "a certificate buffer of 16 octets", PAGE_SIZE, PAGE_SIZE, 16, false },
	{ "nothing fits", 1, 1, 1, false },
};

static u8 *buffers[3];
static struct svsm_attest_call *input;
static u8 *nonce;

static void attest(const struct attempt *attempt, struct svsm_call *call)
{
	memset(input, 0, sizeof(*input));
	input->report_buf.pa = __pa(buffers[0]);
	input->report_buf.len = attempt->report;
	input->manifest_buf.pa = __pa(buffers[1]);
	input->manifest_buf.len = attempt->manifest;
	input->certificates_buf.pa = attempt->certificates ? __pa(buffers[2]) : 0;
	input->certificates_buf.len = attempt->certificates;
	input->nonce.pa = __pa(nonce);
	input->nonce.len = NONCE_SIZE;
	memcpy(input->service_guid, vtpm, sizeof(vtpm));
	memset(buffers[0], 0xa5, PAGE_SIZE);
	memset(buffers[1], 0xa5, PAGE_SIZE);
	snp_issue_svsm_attest_req(SVSM_ATTEST_CALL(SVSM_ATTEST_SINGLE_SERVICE), call, input);
}

static bool untouched(void)
{
	return buffers[0][0] == 0xa5 && buffers[1][0] == 0xa5;
}

static bool as_expected(const struct attempt *attempt, const struct svsm_call *call, const struct svsm_call *fits)
{
	bool told = attempt->report >= REPORT_SIZE && attempt->manifest >= fits->rcx_out;

	if (call->r8_out != REPORT_SIZE || call->rcx_out != fits->rcx_out)
		return false;
	/* How long the certificates are is the host's to say, which is asked once report and manifest fit. */
	if (attempt->certificates && call->rdx_out != (told ? fits->rdx_out : 0))
		return false;
	if (attempt->fits)
		return call->rax_out == 0 && !untouched();
	return call->rax_out == INVALID_PARAMETER && untouched();
}

static bool all(void)
{
	struct svsm_call fits = {}, call;
	bool good = true;
	int i;

	for (i = 0; i < ARRAY_SIZE(attempts); i++) {
		bool expected;

		memset(&call, 0, sizeof(call));
		attest(&attempts[i], &call);
		if (i == 0)
			fits = call;
		expected = as_expected(&attempts[i], &call, &fits);
		good &= expected;
		pr_info("%s %s: result %#llx, manifest %llu, certificates %llu, report %llu\n", expected ? "ok" : "FAIL",
			attempts[i].name, call.rax_out, call.rcx_out, call.rdx_out, call.r8_out);
	}
	return good;
}

static int __init quoin_attest(void)
{
	bool allocated = true;
	int i;

	input = (void *)get_zeroed_page(GFP_KERNEL);
	nonce = (void *)get_zeroed_page(GFP_KERNEL);
	for (i = 0; i < ARRAY_SIZE(buffers); i++) {
		buffers[i] = (void *)__get_free_pages(GFP_KERNEL | __GFP_ZERO, ORDER);
		allocated &= buffers[i] != NULL;
	}
	if (input && nonce && allocated && all())
		pr_info("all as expected\n");
	for (i = 0; i < ARRAY_SIZE(buffers); i++)
		free_pages((unsigned long)buffers[i], ORDER);
	free_page((unsigned long)input);
	free_page((unsigned long)nonce);
	return -ECANCELED;
}
module_init(quoin_attest);

MODULE_DESCRIPTION("Attestation calls with buffers that are too small");
MODULE_LICENSE("GPL");
