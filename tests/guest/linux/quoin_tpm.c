// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/tpm0 and /dev/tpmrm0 for kernels that find an SVSM's vTPM but were built without TCG_SVSM.
 *
 * The kernel's core registers a platform device "tpm-svsm" when the SVSM answers the vTPM protocol's query; this binds
 * to it. A call takes one page: a platform command in it, its answer in its place (SVSM specification 1.00, chapter 8).
 */
#include <asm/sev.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/tpm.h>
#include <linux/unaligned.h>

/* Exported by the TPM core, declared in a header that no package has. */
struct tpm_chip *tpmm_chip_alloc(struct device *parent, const struct tpm_class_ops *ops);
int tpm_chip_register(struct tpm_chip *chip);
void tpm_chip_unregister(struct tpm_chip *chip);

/*
 * TPM_SEND_COMMAND: u32 command, u8 locality, u32 size, the TPM command. The answer: u32 size, the TPM response.
 * All little-endian.
 */
#define SEND_COMMAND 8
#define REQUEST_HEAD 9
#define ANSWER_HEAD 4

static u8 *page;

/* TPM_CHIP_FLAG_SYNC: the response goes where the command was, and its size is returned. */
static int quoin_send(struct tpm_chip *chip, u8 *buffer, size_t room, size_t size)
{
	u32 answered;
	int error;

	if (size > PAGE_SIZE - REQUEST_HEAD)
		return -E2BIG;
	put_unaligned_le32(SEND_COMMAND, page);
	page[4] = 0;
	put_unaligned_le32(size, page + 5);
	memcpy(page + REQUEST_HEAD, buffer, size);
	error = snp_svsm_vtpm_send_command(page);
	if (error)
		return error;
	answered = get_unaligned_le32(page);
	if (answered > PAGE_SIZE - ANSWER_HEAD || answered > room)
		return -E2BIG;
	memcpy(buffer, page + ANSWER_HEAD, answered);
	return answered;
}

static const struct tpm_class_ops quoin_ops = {
	.flags = TPM_OPS_AUTO_STARTUP,
	.send = quoin_send,
};

static int quoin_probe(struct platform_device *device)
{
	struct tpm_chip *chip;

	page = (u8 *)devm_get_free_pages(&device->dev, GFP_KERNEL, 0);
	if (!page)
		return -ENOMEM;
	chip = tpmm_chip_alloc(&device->dev, &quoin_ops);
	if (IS_ERR(chip))
		return PTR_ERR(chip);
	chip->flags |= TPM_CHIP_FLAG_TPM2 | TPM_CHIP_FLAG_SYNC;
	platform_set_drvdata(device, chip);
	return tpm_chip_register(chip);
}

static void quoin_remove(struct platform_device *device)
{
	tpm_chip_unregister(platform_get_drvdata(device));
}

static struct platform_driver quoin_driver = {
	.probe = quoin_probe,
	.remove = quoin_remove,
	.driver = { .name = "tpm-svsm" },
};
module_platform_driver(quoin_driver);

MODULE_ALIAS("platform:tpm-svsm");
MODULE_DESCRIPTION("The vTPM of an SVSM, for kernels without TCG_SVSM");
MODULE_LICENSE("GPL");
