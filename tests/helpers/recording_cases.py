"""The runs that `tests/compare_outputs.py` records: one row each, its commands in order."""

from dataclasses import dataclass

SEXTRACTOR = "source-extractor"


@dataclass(frozen=True)
class Case:
    """Commands that run one after the other in one folder.

    Attributes
    ----------
    name : str
        Of the folder; begins with the command.
    inputs : dict
        Name in the folder -> row of `recording_inputs.INPUTS`.
    commands : tuple of str
    needs : tuple of str
        Programs or distributions without which it is left out.
    """

    name: str
    inputs: dict[str, str]
    commands: tuple[str, ...]
    needs: tuple[str, ...] = ()

    def is_about(self, word: str) -> bool:
        """Return whether a word is the name, begins it, or is one of the commands."""
        words = {part for command in self.commands for part in command.split()[:2]}
        return word in words or self.name == word or self.name.startswith(f"{word}-")


def case(name: str, inputs: str, *commands: str, needs: str = "") -> Case:
    """Return a case from words: `target=input` gives an input another name."""
    parts = [one.partition("=") for one in inputs.split()]
    return Case(name, {one[0]: one[2] or one[0] for one in parts}, commands, tuple(needs.split()))


TINY = (
    "--fields 2 --validation-fields 1 --field-shape 96,96 --tile 32 --batch-size 2 --epochs 2 "
    "--steps-per-epoch 2 --validation-steps 1 --warm-up-steps 1"
)
CASES: list[Case] = [
    # bgrem validate and the other slow ones come first: cases run side by side
    case("validate-truth", "sim.fits=pair2.fits",
        "bgrem validate sim.fits -i OBSERVED --truth sim.fits -o report --side 192 --repeats 1 "
        "--no-halos --steps 2 --fwhm 3.2"),
    case("validate-plain", "field.fits",
        "bgrem validate field.fits -o report --side 192 --repeats 1 --no-halos --steps 1 "
        "--injections 40 --json"),
    case("validate-halos", "field.fits",
        "bgrem validate field.fits -o report --side 128 --repeats 2 --steps 1 --no-clip --seed 3 "
        "--max-sigma 6 --largest-change 4 --gain 2 --saturate 50000",
        "bgrem validate field.fits -o again --params report/validateParams.json --no-halos "
        "--repeats 1 --quiet"),
    case("validate-gamma", "counts.fits",
        "bgrem validate counts.fits -o report --model gamma --fwhm 2.3 --repeats 1 --no-halos "
        "--full --steps 1"),
    case("calibrate-pairs", "pair1.fits pair2.fits pair3.fits pair4.fits",
        "bgrem calibrate pair1.fits pair2.fits pair3.fits -o few.json --steps 1",
        "bgrem calibrate pair1.fits pair2.fits pair3.fits pair4.fits -o mine.json --steps 1",
        "bgrem calibrate pair?.fits -o unclipped.json --steps 1 --no-clip --json",
        "bgrem denoise pair1.fits -i OBSERVED -o out.fits --steps 1 --uncertainty sigma.fits "
        "--calibration mine.json",
        "bgrem reproduce sigma.fits"),
    case("calibrate-simulate", "",
        "bgrem calibrate --simulate 4 -o simulated.json --steps 1"),
    case("api-runs", "field.fits hubble.fits streaks.fits nebula_colour.fits run.py=api_runs.py",
        "python run.py"),
    case("api-names", "names.py=api_names.py", "python names.py"),
    case("denoise-plain", "field.fits",
        "bgrem denoise field.fits",
        "bgrem reproduce field_denoised.fits",
        "bgrem reproduce field_denoised.fits --print",
        "bgrem denoise field.fits"),
    case("denoise-options", "field.fits",
        "bgrem denoise field.fits -o half.fits -s 2 --no-clip --strength 0.5 --max-sigma 3 "
        "--mesh 32 --seed 3 --before-after look.png --background back.fits --residual rest.fits",
        "bgrem reproduce rest.fits --json",
        "bgrem denoise field.fits -o replayed.fits --params half_denoisedParams.json --json",
        "bgrem denoise field.fits -o half.fits -s 1 --strength 0 --overwrite --quiet"),
    case("denoise-steps", "field.fits",
        "bgrem denoise field.fits -p one_ -s 1 --json",
        "bgrem denoise field.fits -o out -s 3 -n 0.06 -m 410 --precision float32",
        "bgrem denoise field.fits -o tiles.fits -s 2 --tile 128 --overlap 48 --batch-size 3",
        "bgrem denoise field.fits -o brain.fits -s 2 --precision bfloat16"),
    case("denoise-bundle", "field.fits",
        "bgrem denoise field.fits -o out.fits --bundle all.fits --background back.fits "
        "--residual rest.fits --uncertainty sigma.fits --quality dq.fits --before-after look.png",
        "bgrem restore all.fits -o back_again.fits",
        "bgrem restore all.fits -o back_again.fits",
        "bgrem restore all.fits -o back_again.fits --overwrite --json",
        "bgrem restore all.fits -o back_again.xisf --quiet",
        "bgrem reproduce all.fits --print",
        "bgrem reproduce sigma.fits",
        "bgrem reproduce dq.fits --print"),
    case("denoise-further", "double.fits",
        "bgrem denoise double.fits -o out.xisf --background back.xisf --residual rest.fits.gz "
        "--uncertainty sigma.xisf --quality dq.fits --bundle all.fits",
        "bgrem reproduce rest.fits.gz --print"),
    case("denoise-integers", "unsigned.fits signed.fits double.fits",
        "bgrem denoise unsigned.fits -s 1 --bundle u.fits",
        "bgrem restore u.fits -o u_back.fits",
        "bgrem reproduce u.fits",
        "bgrem denoise signed.fits -s 1 --bundle s.fits",
        "bgrem restore s.fits -o s_back.fits",
        "bgrem denoise double.fits -s 1 --bundle d.fits",
        "bgrem restore d.fits -o d_back.fits"),
    case("denoise-missing", "border.fits",
        "bgrem denoise border.fits --bundle all.fits --quality dq.fits --uncertainty s.fits",
        "bgrem restore all.fits -o back.fits",
        "bgrem denoise border.fits -s 1 -o all_zeros.fits --zeros all",
        "bgrem denoise border.fits -s 1 -o no_zeros.fits --zeros data"),
    case("denoise-extensions", "extensions.fits",
        "bgrem denoise extensions.fits -i SCI --dq DQ -o out.fits -s 2 --bundle all.fits "
        "--quality dq.fits",
        "bgrem denoise extensions.fits -s 1 -o first.fits",
        "bgrem denoise extensions.fits -i 2 --dq 3 -s 1 -o errors.fits",
        "bgrem reproduce out.fits",
        "bgrem restore all.fits -o back.fits"),
    case("denoise-colour", "colour.fits four_planes.fits",
        "bgrem denoise colour.fits --tile 128 --overlap 32 --bundle all.fits "
        "--uncertainty sigma.fits --quality dq.fits --before-after look.png",
        "bgrem restore all.fits -o back.fits",
        "bgrem denoise colour.fits -s 1 --channels 1 -o green.fits",
        "bgrem denoise four_planes.fits -s 1 --channels 0,2,3",
        "bgrem reproduce green.fits"),
    case("denoise-xisf", "colour.xisf",
        "bgrem denoise colour.xisf -s 2 --background back.xisf --bundle all.fits",
        "bgrem restore all.fits -o back_again.xisf",
        "bgrem denoise colour.xisf -s 1 -o out.fits",
        "bgrem denoise colour.xisf -s 1 -i 1 -o small.xisf",
        "bgrem reproduce colour_denoised.xisf"),
    case("denoise-packed", "compressed.fits.fz zipped.fits.gz",
        "bgrem denoise compressed.fits.fz zipped.fits.gz -o out -s 1 --json",
        "bgrem denoise zipped.fits.gz -s 1 -o plain.fits --bundle all.fits",
        "bgrem denoise compressed.fits.fz -s 1 -o other.fits.gz",
        "bgrem restore all.fits -o back.fits.gz",
        "bgrem reproduce out/compressed_denoised.fits.fz"),
    case("denoise-folder", "night/a.fits=field.fits night/b.fits=unsigned.fits "
        "night/c.fits=words.fits night/notes.txt=words.fits",
        "bgrem denoise night/a.fits -o night -s 1",
        "bgrem denoise night -o out -s 1",
        "bgrem denoise night -o night -s 1 --quiet",
        "bgrem denoise night/*.fits -o one.fits -s 1",
        "bgrem denoise 'night/[ab].fits' -o quiet -p x_ -s 1 --quiet"),
    case("denoise-gamma", "counts.fits",
        "bgrem denoise counts.fits --model gamma --bundle all.fits --before-after look.png",
        "bgrem denoise counts.fits --model gamma -o unclipped.fits --no-clip -s 2",
        "bgrem restore all.fits -o back.fits",
        "bgrem reproduce counts_denoised.fits"),
    case("denoise-domain", "bare.fits crowded.fits border.fits missing.fits constant.fits "
        "streaks.fits",
        "bgrem denoise bare.fits -s 1 --strict",
        "bgrem denoise crowded.fits -s 1",
        "bgrem denoise streaks.fits -s 1 --strict",
        "bgrem denoise streaks.fits -s 1 --quality dq.fits",
        "bgrem denoise missing.fits -s 1",
        "bgrem denoise constant.fits -s 1"),
    case("enhance-plain", "hubble.fits",
        "bgrem enhance hubble.fits -i SCI --dq DQ -o out/",
        "bgrem enhance hubble.fits -i SCI -o sharp.fits --ratio 3 --noise 0 --tile 128 --stride 96",
        "bgrem enhance hubble.fits -i SCI -o again.fits --params sharp_enhancedParams.json --json",
        "bgrem reproduce sharp.fits",
        "bgrem reproduce out/hubble_enhanced.fits --input hubble.fits"),
    case("enhance-options", "hubble_rate.fits field.fits colour.fits border.fits",
        "bgrem enhance hubble_rate.fits",
        "bgrem enhance hubble_rate.fits --gain 1.5",
        "bgrem enhance hubble_rate.fits --gain 1.5 --exposure 350 --ratio 4.5 --noise 1 -p x_",
        "bgrem enhance field.fits colour.fits border.fits -o out --batch-size 2 --mesh 32 --seed 2",
        "bgrem enhance field.fits -o eight.fits --ratio 8",
        "bgrem enhance field.fits -o strict.fits --strict",
        "bgrem enhance field.fits -o single.fits --precision float32 --quiet"),
    case("enhance-cosmics", "hubble.fits",
        "bgrem enhance hubble.fits -i SCI --dq DQ --ratio 3 --cosmic-rays",
        "bgrem enhance hubble.fits -i SCI -o noisy.fits --cosmic-rays --read-noise 6 --noise 0",
        needs="astroscrappy"),
    case("noisemap-plain", "streaks.fits",
        "bgrem noisemap streaks.fits",
        "bgrem reproduce streaks_residual.fits",
        "bgrem reproduce streaks_rms.fits --json",
        "bgrem noisemap streaks.fits -o out.fits --map m.fits --deviation d.fits --rms r.fits "
        "--runs 3 --depth 200 --ddim-steps 4 --eta 0.5 --seed 5 --json",
        "bgrem noisemap streaks.fits -o again.fits --params out_residualParams.json",
        "bgrem noisemap streaks.fits -o open.fits --protect 0"),
    case("noisemap-options", "streaks.fits border.fits",
        "bgrem noisemap streaks.fits -o tiles --tile 128 --stride 64 --batch-size 3 --mesh 32 "
        "--protect 5 --runs 1",
        "bgrem noisemap streaks.fits -o single.fits --runs 1 --depth 30 --precision float32",
        "bgrem noisemap border.fits --zeros all --runs 1",
        "bgrem noisemap streaks.fits -o out.xisf --runs 1"),
    case("noisemap-frames", "short_streaks.fits no_streaks.fits colour.fits",
        "bgrem noisemap short_streaks.fits no_streaks.fits -o out --json",
        "bgrem noisemap short_streaks.fits -o open.fits --protect 0 --runs 1",
        "bgrem noisemap no_streaks.fits -o open_points.fits --protect 0 --runs 1",
        "bgrem noisemap colour.fits --runs 1",
        "bgrem noisemap out -o again"),
    case("catalog-plain", "field.fits",
        "bgrem catalog field.fits",
        "bgrem catalog field.fits -o full.fits --segmentation seg.fits --vignet 15 --threshold 2 "
        "--minimum-area 3 --deblend-contrast 0.01 --apertures 4,8.5 --kron-factor 2 "
        "--kron-minimum 3 --disagreement 3 --gain 1.7 --saturate 20000 --zero-point 27 --json",
        "bgrem reproduce full.fits",
        "bgrem reproduce seg.fits --json",
        "bgrem catalog field.fits -o again.fits --params full_fitsParams.json"),
    case("catalog-formats", "field.fits",
        "bgrem denoise field.fits -s 2 --bundle all.fits",
        "bgrem catalog field.fits -o a.fits --denoised field_denoised.fits --segmentation s.fits",
        "bgrem catalog field.fits -o a.ldac --denoised all.fits --vignet 11",
        "bgrem catalog field.fits -o a.cat --denoised field_denoised.fits",
        "bgrem catalog field.fits -o a.vot --denoised field_denoised.fits",
        "bgrem catalog field.fits -o a.xml --denoised all.fits",
        "bgrem catalog field.fits -o a.ecsv --denoised field_denoised.fits",
        "bgrem catalog field.fits -o a.csv --denoised field_denoised.fits",
        "bgrem catalog field.fits -o a.reg --denoised field_denoised.fits",
        "bgrem reproduce a.ldac",
        "bgrem reproduce a.csv"),
    case("catalog-frames", "bare.fits crowded.fits border.fits extensions.fits colour.fits "
        "colour.xisf",
        "bgrem catalog bare.fits crowded.fits border.fits -o out --format .reg -s 1",
        "bgrem catalog bare.fits crowded.fits -o out --format .ldac -s 1 --json",
        "bgrem catalog extensions.fits -i SCI --dq DQ -o e.fits --segmentation s.fits -s 1",
        "bgrem catalog colour.fits -o all.csv -s 1",
        "bgrem catalog colour.fits --channels 1 -o green.csv -s 1",
        "bgrem catalog colour.xisf --channels 0 -o red.ecsv -s 1",
        "bgrem catalog bare.fits -o strict.fits --strict -s 1 --quiet",
        "bgrem catalog crowded.fits -o high.fits --threshold 1e6 -s 1"),
    case("catalog-sextractor", "field.fits crowded.fits border.fits",
        "bgrem catalog field.fits -o a.fits --engine sextractor --segmentation s.fits -s 2",
        "bgrem catalog crowded.fits border.fits -o out --format .ldac --engine sextractor "
        "--vignet 9 -s 1 --json",
        "bgrem catalog field.fits -o none.csv --engine sextractor --threshold 1e6 -s 1",
        "bgrem reproduce a.fits",
        needs=SEXTRACTOR),
    case("reproduce-refused", "field.fits other.fits=bare.fits crowded.fits",
        "bgrem denoise field.fits -s 1",
        "bgrem reproduce field_denoised.fits --input crowded.fits",
        "bgrem reproduce field_denoised.fits --input nowhere.fits",
        "bgrem reproduce field_denoised.fits --input other.fits",
        "bgrem reproduce field_denoised.fits --quiet",
        "bgrem reproduce field.fits",
        "bgrem reproduce field_denoisedParams.json",
        "bgrem reproduce nowhere.fits"),
    case("simulate-presets", "",
        "bgrem simulate meerlicht --shape 160,144 --seed 3",
        "bgrem simulate decam --shape 128,160 -o out --artefacts --json",
        "bgrem simulate ztf --shape 128,128 --number 2 --seed 8 --fwhm 3 --beta 2.8 "
        "--ellipticity 0.2 --stars 3000 --star-slope 0.4 --galaxies 500 --faint-structures 20 "
        "--sky 900 --gradient 0.2 --waves 0.02",
        "bgrem simulate wfc3-uvis --shape 144,128 --artefacts --quiet",
        "bgrem simulate amateur-cmos --shape 128,144 --artefacts",
        "bgrem simulate meerlicht --shape 160,144 --seed 3",
        "bgrem simulate meerlicht --shape 160,144 --seed 3 --overwrite"),
    case("simulate-compare", "field.fits extensions.fits colour.fits",
        "bgrem simulate meerlicht --compare field.fits --picture look.png",
        "bgrem simulate ztf --compare extensions.fits --hdu SCI --json --seed 2",
        "bgrem simulate amateur-cmos --compare colour.fits --artefacts --picture colour.png"),
    case("train-optical", "field.fits",
        f"bgrem train optical -o run {TINY}",
        f"bgrem train optical -o run {TINY}",
        f"bgrem train optical -o run {TINY} --seed 4",
        "bgrem models run/model",
        "bgrem denoise field.fits --model run/model -s 1",
        "bgrem reproduce field_denoised.fits"),
    case("train-gamma", "counts.fits",
        f"bgrem train gamma -o run {TINY} --json",
        "bgrem denoise counts.fits --model run/model -s 1"),
    case("train-hst", "hubble.fits",
        f"bgrem train hst -o run {TINY} --ratios 2,3 --quiet",
        "bgrem enhance hubble.fits -i SCI --model run/model --ratio 2.5"),
    case("train-streaks", "streaks.fits",
        f"bgrem train streaks -o run {TINY}",
        "bgrem noisemap streaks.fits --model run/model --runs 1"),
    case("train-files", "a.fits=pair1.fits b.fits=pair2.fits h1.fits=hubble_rate.fits "
        "h2.fits=field.fits s1.fits=streaks.fits s2.fits=no_streaks.fits",
        f"bgrem train optical -o run --files [ab].fits --start-from optical {TINY} --loss huber "
        "--huber-delta 2 --schedule constant --precision float32 --average 0 --no-vary",
        f"bgrem train streaks -o streaks --files s?.fits {TINY}",
        f"bgrem train hst -o hst --files h?.fits {TINY}",
        f"bgrem train hst -o hst2 --files h2.fits,s1.fits {TINY}"),
    case("train-paper", "",
        f"bgrem train --preset paper -o run {TINY} --smallest-peak 0 --loss l2",
        f"bgrem train optical -o ztf {TINY} --simulation ztf --network narrow --clip-norm 0 "
        "--weight-decay 0 --patience 1"),
    case("models-list", "",
        "bgrem models",
        "bgrem models --json",
        *(f"bgrem models {name}" for name in ("optical", "gamma", "hst", "streaks", "nothing"))),
    case("bgoptimizer-plain", "nebula.fits nebula_border.fits",
        "bgoptimizer nebula.fits",
        "bgoptimizer nebula.fits",
        "bgoptimizer nebula.fits results --json --uncertainty 4",
        "bgoptimizer nebula.fits -o again.fits --params results/nebula_bgParams.json",
        "bgoptimizer nebula_border.fits --before-after look.png --animation fit.gif --seed 4",
        "bgoptimizer nebula_border.fits -o zeros.fits --zeros all --quiet --no-save-mask",
        "bgoptimizer nebula.fits -o plain.fits.gz --pedestal none -dx 5 -N 60 -O 2 -df mean"),
    case("bgoptimizer-options", "nebula.fits vignetted.fits mask.fits extensions.fits",
        "bgoptimizer vignetted.fits --operation divide",
        "bgoptimizer nebula.fits -m mask.fits --pedestal 123.5 -o masked.fits",
        "bgoptimizer nebula.fits --preview-png look.png",
        "bgoptimizer nebula.fits -p -m mask.fits",
        "bgoptimizer extensions.fits --hdu SCI --uncertainty 2 -N 30",
        "bgoptimizer nebula.fits -o out.xisf -c",
        "bgoptimizer nebula.fits -o packed.fits.fz"),
    case("bgoptimizer-colour", "nebula_colour.fits colour.xisf mosaic.fits",
        "bgoptimizer nebula_colour.fits --uncertainty 3 --before-after look.png",
        "bgoptimizer nebula_colour.fits --channels 2 -o blue.fits",
        "bgoptimizer colour.xisf -c --json --uncertainty 2",
        "bgoptimizer colour.xisf -o out.fits --operation divide",
        "bgoptimizer mosaic.fits --before-after mosaic.png --animation mosaic.gif",
        "bgoptimizer mosaic.fits -o divided.fits --operation divide",
        "bgoptimizer nebula_colour.fits --channels 0 -o forced.fits --bayer"),
    case("bgoptimizer-original", "nebula.fits nebula_colour.fits mask.fits",
        "bgoptimizer nebula.fits --objective original -e 40",
        "bgoptimizer nebula_colour.fits --objective original -e 15 -i grid -O 3 -N 20 -dx 6 "
        "-dq 0.9 -tm 0.01 -tM 0.9 -a 3 -lr 0.01 --seed 2 -m mask.fits --json",
        "bgoptimizer nebula.fits -o again.fits --params nebula_bgParams.json --animation fit.gif"),
    case("bgoptimizer-batch", "night/a.fits=nebula.fits night/b.fits=vignetted.fits "
        "night/c.fits=words.fits compressed.fits.fz zipped.fits.gz",
        "bgoptimizer night/a.fits compressed.fits.fz zipped.fits.gz -o out",
        "bgoptimizer night -o out2 --json",
        "bgoptimizer night/a.fits -o night",
        "bgoptimizer night -o out3 --quiet"),
    case("help-all", "",
        "bgrem", "bgrem --help", "bgrem --version", "bgoptimizer --help", "bgoptimizer --version",
        *(f"bgrem {name} --help" for name in (
            "denoise", "restore", "enhance", "noisemap", "catalog", "validate", "calibrate",
            "reproduce", "simulate", "train", "models",
        ))),
    case("errors-usage", "field.fits",
        "bgrem paint field.fits", "bgrem denoise", "bgoptimizer",
        "bgrem denoise field.fits --stepp",
        "bgrem denoise field.fits -s 0", "bgrem denoise field.fits -s many",
        "bgrem denoise field.fits --tile 100", "bgrem denoise field.fits --strength 2",
        "bgrem denoise field.fits --model nothing", "bgrem denoise field.fits --channels red",
        "bgrem denoise field.fits -o out.png", "bgrem denoise field.fits -o field.fits",
        "bgrem denoise field.fits -o field.fits --overwrite",
        "bgrem denoise field.fits -o x.fits --bundle x.fits",
        "bgrem denoise field.fits --before-after look.jpg",
        "bgrem denoise field.fits --calibration c.json",
        "bgrem denoise field.fits --uncertainty s.fits --strength 0.5",
        "bgrem denoise field.fits --uncertainty s.fits --steps 3",
        "bgrem denoise field.fits --model hst", "bgrem enhance field.fits --model optical",
        "bgrem enhance field.fits --ratio 1", "bgrem noisemap field.fits --protect 1",
        "bgrem noisemap field.fits --ddim-steps 500", "bgrem catalog field.fits -o a.txt",
        "bgrem catalog field.fits --vignet 4", "bgrem catalog field.fits --segmentation s.png",
        "bgrem restore field.fits -o out.fits", "bgrem validate field.fits -o field.fits",
        "bgrem validate field.fits -o r --side 5",
        "bgrem validate field.fits -o r --truth field.fits",
        "bgrem calibrate -o c.json", "bgrem calibrate --simulate 2 -o no/c.json",
        "bgrem simulate hubble", "bgrem simulate ztf --shape 4,4", "bgrem simulate ztf --number 0",
        "bgrem train -o run", "bgrem train nothing -o run", "bgrem train optical -o run --tile 20",
        "bgrem train optical -o run --files no*.fits", "bgrem models nothing",
        "bgoptimizer field.fits --epochs 5", "bgoptimizer field.fits --pedestal high",
        "bgoptimizer field.fits --objective original --uncertainty 2",
        "bgoptimizer field.fits -m no.fits", "bgoptimizer field.fits -N 2",
        "bgoptimizer field.fits field.fits.png", "bgrem denoise nowhere.fits --debug"),
    case("errors-inputs", "words.fits words.xisf cut_short.fits damaged.fits four_planes.fits "
        "only_table.fits missing.fits constant.fits tiny.fits mosaic.fits broken.json foreign.json "
        "unknown.json config.json field.fits colour.fits nebula.fits crowded.fits",
        *(f"{command} {name}" for command in ("bgrem denoise -s 1", "bgoptimizer") for name in (
            "nowhere.fits", "words.fits", "words.xisf", "cut_short.fits", "damaged.fits",
            "four_planes.fits", "only_table.fits", "missing.fits", "constant.fits", "tiny.fits",
            "empty*.fits",
        )),
        "bgrem denoise mosaic.fits", "bgrem enhance mosaic.fits", "bgrem noisemap constant.fits",
        "bgrem noisemap missing.fits", "bgrem enhance constant.fits", "bgrem catalog missing.fits",
        "bgrem catalog constant.fits -s 1", "bgrem validate tiny.fits -o report",
        "bgrem validate colour.fits -o report",
        "bgrem denoise damaged.fits --no-verify -s 1",
        "bgoptimizer damaged.fits --no-verify -o d.fits",
        "bgrem denoise field.fits -i 3", "bgrem denoise field.fits -i SCI",
        "bgrem denoise field.fits --dq 7", "bgrem denoise colour.fits --channels 5",
        "bgrem denoise field.fits --params broken.json",
        "bgrem denoise field.fits --params foreign.json",
        "bgrem denoise field.fits --params unknown.json",
        "bgrem denoise field.fits --params no.json",
        "bgoptimizer field.fits --params foreign.json", "bgrem train config.json -o run",
        "bgrem catalog field.fits --denoised crowded.fits",
        "bgrem catalog field.fits --denoised no.fits",
        "bgrem calibrate field.fits -o c.json", "bgrem simulate ztf --compare words.fits",
        "bgoptimizer nebula.fits -m field.fits"),
]  # fmt: skip
