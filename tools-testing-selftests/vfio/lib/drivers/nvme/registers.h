/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The part of the NVM Express interface that the driver uses, named as in
 * include/linux/nvme.h, which does not compile in userspace.
 */
#ifndef SELFTESTS_VFIO_LIB_DRIVERS_NVME_REGISTERS_H
#define SELFTESTS_VFIO_LIB_DRIVERS_NVME_REGISTERS_H

#include <linux/bits.h>
#include <linux/types.h>

#define NVME_REG_CAP		0x00	/* Controller Capabilities */
#define NVME_REG_CC		0x14	/* Controller Configuration */
#define NVME_REG_CSTS		0x1c	/* Controller Status */
#define NVME_REG_AQA		0x24	/* Admin Queue Attributes */
#define NVME_REG_ASQ		0x28	/* Admin Submission Queue Base Address */
#define NVME_REG_ACQ		0x30	/* Admin Completion Queue Base Address */
#define NVME_REG_DBS		0x1000	/* Submission Queue 0 Tail Doorbell */

#define NVME_CAP_MQES(cap)	((cap) & 0xffff)
#define NVME_CAP_STRIDE(cap)	(((cap) >> 32) & 0xf)
#define NVME_CAP_MPSMIN(cap)	(((cap) >> 48) & 0xf)

#define NVME_CC_ENABLE		BIT(0)
#define NVME_CC_IOSQES		(6 << 16)	/* log2(sizeof(struct nvme_command)) */
#define NVME_CC_IOCQES		(4 << 20)	/* log2(sizeof(struct nvme_completion)) */

#define NVME_CSTS_RDY		BIT(0)
#define NVME_CSTS_CFS		BIT(1)

/* Opcodes of admin commands */
#define nvme_admin_create_sq	0x01
#define nvme_admin_create_cq	0x05
#define nvme_admin_identify	0x06
#define nvme_admin_set_features	0x09

/* Opcodes of I/O commands */
#define nvme_cmd_flush		0x00
#define nvme_cmd_write		0x01
#define nvme_cmd_read		0x02

#define NVME_QUEUE_PHYS_CONTIG	BIT(0)
#define NVME_CQ_IRQ_ENABLED	BIT(1)
#define NVME_FEAT_NUM_QUEUES	0x07
#define NVME_ID_CNS_NS		0x00
#define NVME_ID_CNS_CTRL	0x01

/* Where things are in what Identify returns */
#define NVME_ID_CTRL_MDTS	77
#define NVME_ID_NS_NSZE		0
#define NVME_ID_NS_FLBAS	26
#define NVME_ID_NS_LBAF(i)	(128 + 4 * (i))
#define NVME_ID_NS_LBAF_MS	0
#define NVME_ID_NS_LBAF_DS	2

struct nvme_command {
	__u8 opcode;
	__u8 flags;
	__le16 command_id;
	__le32 nsid;
	__le32 cdw2[2];
	__le64 metadata;
	__le64 prp1;
	__le64 prp2;
	__le32 cdw10;
	__le32 cdw11;
	__le32 cdw12;
	__le32 cdw13;
	__le32 cdw14;
	__le32 cdw15;
};

struct nvme_completion {
	__le32 result;
	__le32 reserved;
	__le16 sq_head;
	__le16 sq_id;
	__le16 command_id;
	__le16 status;		/* Bit 0 is the phase */
};

#endif /* SELFTESTS_VFIO_LIB_DRIVERS_NVME_REGISTERS_H */
